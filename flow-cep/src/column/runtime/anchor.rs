//! Clocks that are started from outside.

use super::Runtime;

impl Runtime {
    /// Starts the clocks of a statement that its first row starts, which came at `time_ms`.
    pub(crate) fn anchor(&mut self, statement: usize, time_ms: i64) {
        for runner in &mut self.runners {
            for client in runner.groups.iter_mut().filter(|client| client.statement == statement) {
                if let (Some(every), None) = (client.every_ms, client.next_ms) {
                    client.next_ms = Some(time_ms.saturating_add(every));
                }
                if let Some(grid) = &mut runner.grid {
                    grid.anchor_ms.get_or_insert(time_ms);
                }
            }
        }
        for panes in &mut self.panes {
            for client in panes.clients.iter_mut().filter(|client| client.statement == statement) {
                client.clock.start(time_ms);
            }
        }
        for groups in self.watches.iter_mut().flat_map(|watch| &mut watch.groups) {
            groups.anchor(statement, time_ms);
        }
    }
}
