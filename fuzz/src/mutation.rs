//! Mutations without a fuzzer.

/// Inputs beside this one, from a seed: bytes changed to what parsers stumble over, moved, doubled and left out.
/// `MUTATIONS` sets how many there are of each input.
pub fn mutations(input: &[u8], count: usize, run: &impl Fn(&[u8])) {
    let count = std::env::var("MUTATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(count);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % limit.max(1)
    };
    for _ in 0..count {
        let mut mutant = input.to_vec();
        for _ in 0..=below(6) {
            let (at, length) = (below(mutant.len()), below(24));
            let end = (at + length).min(mutant.len());
            match below(6) {
                0 => mutant
                    .get_mut(at..)
                    .and_then(<[u8]>::first_mut)
                    .into_iter()
                    .for_each(|byte| *byte ^= 1 << below(8)),
                1 => mutant[at..end].fill([0, 1, 0x7F, 0x80, 0xFF][below(5)]),
                2 => drop(mutant.drain(at..end)),
                3 => {
                    let part = mutant[at..end].to_vec();
                    let to = below(mutant.len());
                    drop(mutant.splice(to..to, part));
                }
                4 => mutant.truncate(end),
                _ => {
                    let to = below(mutant.len());
                    let part = mutant[at..end].to_vec();
                    let room = part.len().min(mutant.len() - to);
                    mutant[to..to + room].copy_from_slice(&part[..room]);
                }
            }
        }
        run(&mutant);
    }
}
