//! Decoders, ours and others', over the same bytes.

pub mod input;
mod ours;
mod rivals;

use input::Input;
use rustix::time::{ClockId, clock_gettime};

/// One way to decode an input.
pub struct Contender {
    pub name: &'static str,
    pass: Box<dyn FnMut(&Input) -> u64>,
}

impl Contender {
    fn new(name: &'static str, pass: impl FnMut(&Input) -> u64 + 'static) -> Self {
        Self {
            name,
            pass: Box::new(pass),
        }
    }

    /// Decodes all datagrams of the input, numbered on as the exporter would; returns how many records there were.
    pub fn pass(&mut self, input: &mut Input) -> u64 {
        input.number_on();
        std::hint::black_box((self.pass)(std::hint::black_box(input)))
    }
}

/// All that decode an input. Each has been seen to find every record.
pub fn contenders(input: &mut Input) -> Vec<Contender> {
    let mut contenders = ours::contenders(input);
    contenders.extend(rivals::contenders(input));
    for contender in &mut contenders {
        let records = contender.pass(input);
        assert_eq!(records, input.records as u64, "{} of {}", contender.name, input.name);
    }
    contenders
}

/// CPU time of this thread in ns.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("no thread runs backwards")
}
