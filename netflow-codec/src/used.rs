//! What the parts of messages refer to by number.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::sampling::Sampling;
use crate::template::Template;

/// Templates and sampling that parts of messages refer to by number.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) templates: Vec<Arc<Template>>,
    pub(crate) sampling: Vec<Arc<Sampling>>,
}

impl Used {
    /// How many are kept from message to message. More than one exporter has in use at a time.
    const KEPT: usize = 16;

    pub(crate) fn template(&self, number: usize) -> Option<&Arc<Template>> {
        self.templates.get(number)
    }

    pub(crate) fn sampling(&self, number: usize) -> Option<&Arc<Sampling>> {
        self.sampling.get(number)
    }

    pub(crate) fn start_message(&mut self) {
        if self.templates.len() > Self::KEPT {
            self.templates.clear();
        }
        if self.sampling.len() > Self::KEPT {
            self.sampling.clear();
        }
    }
}

/// The number of a value in a list, to which it is added if it is new.
pub(crate) fn number_in<T>(list: &mut Vec<Arc<T>>, value: &Arc<T>) -> usize {
    let known = list.iter().position(|known| Arc::ptr_eq(known, value));
    known.unwrap_or_else(|| {
        list.push(Arc::clone(value));
        list.len().saturating_sub(1)
    })
}
