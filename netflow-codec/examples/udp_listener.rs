//! Listens for NetFlow and IPFIX and prints who talks to whom.
//!
//!     cargo run -p netflow-codec --example udp_listener -- 127.0.0.1:2055

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::net::UdpSocket;
use std::time::{SystemTime, UNIX_EPOCH};

use netflow_codec::{DataSet, Decoder, ElementId, Limits, Set};

const SOURCE: [ElementId; 2] = [ElementId::iana(8), ElementId::iana(27)];
const DESTINATION: [ElementId; 2] = [ElementId::iana(12), ElementId::iana(28)];
const OCTETS: [ElementId; 3] = [ElementId::iana(1), ElementId::iana(85), ElementId::iana(231)];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:2055".to_owned());
    let socket = UdpSocket::bind(address)?;
    println!("listening at {}", socket.local_addr()?);
    let mut decoder = Decoder::new(Limits::default());
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let datagram = buffer.get(..length).unwrap_or_default();
        let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        match decoder.decode(datagram, from, now_ms) {
            Ok(message) => {
                for gap in message.gaps() {
                    println!("{from}: {} {:?} from {} on are lost", gap.count, gap.unit, gap.first);
                }
                for set in &message {
                    match set {
                        Ok(Set::Data(set)) => print(&set),
                        Ok(_) => {}
                        // One bad set costs nothing else of the message.
                        Err(error) => eprintln!("{from}: {error}"),
                    }
                }
            }
            Err(error) => eprintln!("{from}: {error}"),
        }
    }
}

fn print(set: &DataSet<'_>) {
    for record in set.records() {
        let source = SOURCE.iter().find_map(|id| record.address(*id));
        let destination = DESTINATION.iter().find_map(|id| record.address(*id));
        let octets = OCTETS.iter().find_map(|id| record.unsigned(*id));
        if let (Some(source), Some(destination), Some(octets)) = (source, destination, octets) {
            println!("{source} -> {destination}: {octets} bytes");
        }
    }
}
