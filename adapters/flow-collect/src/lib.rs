//! NetFlow collector: UDP datagrams to sealed bundles in the log.
