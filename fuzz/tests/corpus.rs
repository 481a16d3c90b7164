//! Every input of the corpora, and every finding, through its target: without a fuzzer, on any toolchain.

use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    for folder in ["corpus", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let input = std::fs::read(&path).expect("a readable input");
            println!("{}", path.display());
            run(&input);
            // And cut short at some places.
            for cut in (0..input.len()).step_by(input.len() / 16 + 1) {
                run(&input[..cut]);
            }
            mutations(&input, &run);
        }
    }
}

/// Inputs beside this one, from a seed: bytes changed to what parsers stumble over, moved, doubled and left out. How many
/// of each is set by `MUTATIONS`.
fn mutations(input: &[u8], run: &impl Fn(&[u8])) {
    let count = std::env::var("MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(64);
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
                0 => mutant.get_mut(at..).and_then(<[u8]>::first_mut).into_iter().for_each(|byte| *byte ^= 1 << below(8)),
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

#[test]
fn codec_inputs_hold() {
    replay("decode", millrace_fuzz::decode);
    replay("decode", millrace_fuzz::round_trip);
    replay("decode", millrace_fuzz::columns);
    replay("round_trip", millrace_fuzz::round_trip);
    replay("columns", millrace_fuzz::columns);
    replay("capture", millrace_fuzz::capture);
}

#[cfg(feature = "pipeline")]
#[test]
fn pipeline_inputs_hold() {
    replay("statements", millrace_fuzz::statements);
    replay("subnets", millrace_fuzz::subnets);
    replay("bundle", millrace_fuzz::bundle);
    replay("log_record", millrace_fuzz::log_record);
    replay("manifest", millrace_fuzz::manifest);
}

#[cfg(feature = "differential")]
#[test]
fn differential_inputs_hold() {
    replay("decode", millrace_fuzz::differential);
    replay("differential", millrace_fuzz::differential);
}
