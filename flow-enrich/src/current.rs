use std::sync::{Arc, PoisonError, RwLock};

use crate::resolver::Resolver;
use crate::table::SubnetTable;

/// The resolver in force, to be replaced while others use it.
///
/// Take it once for a batch, not once for an address: what was taken stays whole and alive for as long as it is held,
/// and looking up in it needs no lock.
#[derive(Debug)]
pub struct Current {
    resolver: RwLock<Arc<Resolver>>,
}

impl Current {
    /// Puts a first list in force, as generation 1.
    #[must_use]
    pub fn new(table: SubnetTable) -> Self {
        Self {
            resolver: RwLock::new(Arc::new(Resolver::new(table, 1))),
        }
    }

    /// The resolver in force.
    #[must_use]
    pub fn get(&self) -> Arc<Resolver> {
        // Only an assignment happens under the lock, so what a panic left behind is whole.
        Arc::clone(&self.resolver.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another list in force, and returns its generation. It is compiled before anybody waits for it.
    pub fn replace(&self, table: SubnetTable) -> u64 {
        let mut next = Resolver::new(table, 0);
        let mut resolver = self.resolver.write().unwrap_or_else(PoisonError::into_inner);
        next.set_generation(resolver.generation() + 1);
        let generation = next.generation();
        *resolver = Arc::new(next);
        generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subnet::key_of;

    fn table(name: &str) -> SubnetTable {
        SubnetTable::from_csv(format!("prefix,name\n10.0.0.0/8,{name}\n").as_bytes()).unwrap()
    }

    #[test]
    fn who_holds_the_old_list_keeps_it() {
        let current = Current::new(table("old"));
        let held = current.get();
        assert_eq!(current.replace(table("new")), 2);
        let name = |resolver: &Resolver| {
            resolver
                .lookup(&key_of("10.0.0.1".parse().unwrap()))
                .map(|id| resolver.subnet(id).name.clone())
        };
        assert_eq!((name(&held).as_deref(), held.generation()), (Some("old"), 1));
        assert_eq!(
            (name(&current.get()).as_deref(), current.get().generation()),
            (Some("new"), 2)
        );
    }
}
