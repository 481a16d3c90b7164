//! Memory for files that are not yet on the disk, in blocks that serve one file after another.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a block.
const BLOCK_LEN: usize = 1 << 20;
/// Blocks that are kept for the next file: as many as a file takes.
const SPARE: usize = 128;

/// Blocks that no file needs at the moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BLOCK_LEN))
    }

    fn give(&self, blocks: impl Iterator<Item = Vec<u8>>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for mut block in blocks {
            if spare.len() < SPARE {
                block.clear();
                spare.push(block);
            }
        }
    }
}

/// The bytes of a file. They never move, so that a file that grows is not copied.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Vec<u8>>,
    pool: Pool,
}

impl Blocks {
    pub(crate) fn new(pool: &Pool) -> Self {
        Self {
            blocks: Vec::new(),
            pool: pool.clone(),
        }
    }

    fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.blocks.last().map_or(0, |block| BLOCK_LEN - block.len());
            if room == 0 {
                self.blocks.push(self.pool.take());
                continue;
            }
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            if let Some(block) = self.blocks.last_mut() {
                block.extend_from_slice(now);
            }
            bytes = rest;
        }
    }

    /// Writes all of it to `target`.
    pub(crate) fn write_to(&self, target: &mut impl Write) -> io::Result<()> {
        self.blocks.iter().try_for_each(|block| target.write_all(block))
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        self.pool.give(self.blocks.drain(..));
    }
}

/// What an encoder writes a file to, and the drain takes it from at the end.
#[derive(Clone, Debug)]
pub(crate) struct Sink(Arc<Mutex<Blocks>>);

impl Sink {
    pub(crate) fn new(pool: &Pool) -> Self {
        Self(Arc::new(Mutex::new(Blocks::new(pool))))
    }

    pub(crate) fn take(&self) -> Blocks {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_and_blocks_come_again() -> io::Result<()> {
        let pool = Pool::default();
        let wanted: Vec<u8> = (0..=250).cycle().take(BLOCK_LEN * 2 + 77).collect();
        for _ in 0..2 {
            let mut sink = Sink::new(&pool);
            for piece in wanted.chunks(70_001) {
                sink.write_all(piece)?;
            }
            let blocks = sink.take();
            assert_eq!(blocks.blocks.len(), 3);
            let mut got = Vec::new();
            blocks.write_to(&mut got)?;
            assert_eq!(got, wanted);
            drop(blocks);
            assert_eq!(pool.0.lock().map(|spare| spare.len()).ok(), Some(3));
        }
        Ok(())
    }
}
