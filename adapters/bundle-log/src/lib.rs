//! Durable, bounded log of bundles on a local disk.
