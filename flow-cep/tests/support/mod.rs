//! What several test files share.

pub(crate) mod case;
pub(crate) mod recording;
