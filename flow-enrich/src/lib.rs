//! Longest-prefix-match resolver for whole columns of IPv4 and IPv6 addresses.
#![forbid(unsafe_code)]
