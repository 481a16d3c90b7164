//! Every input of the corpora, and every finding, through its target: without a fuzzer, on any toolchain.

use std::path::Path;

use millrace_fuzz::mutations;

fn replay(target: &str, run: impl Fn(&[u8])) {
    for folder in ["corpus", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let input = std::fs::read(&path).expect("a readable input");
            println!("{}", path.display());
            run(&input);
            // And cut short at some places.
            for cut in (0..input.len()).step_by(input.len() / 16 + 1) {
                run(&input[..cut]);
            }
            mutations(&input, 64, &run);
        }
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
