//! Prints the NetFlow and IPFIX of a capture or socket as JSON lines, and replays captures.
fn main() {}
