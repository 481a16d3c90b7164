//! The language's text: what parses prints back to itself, and what does not is told where and why.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use flow_cep::{Error, parse, parse_each};

/// Every statement file of the tests and of the catalogue.
fn statement_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in [root.join("tests/cases"), root.join("../statements")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "epl") {
                files.push((
                    entry.path().display().to_string(),
                    fs::read_to_string(entry.path()).unwrap(),
                ));
            }
        }
    }
    assert!(files.len() > 10, "the cases are missing");
    files
}

#[test]
fn what_is_printed_parses_to_the_same_tree() {
    let mut statements = 0;
    for (file, text) in statement_files() {
        for statement in parse_each(&text) {
            let statement = match statement {
                Ok(statement) => statement,
                Err(Error::Unsupported(_)) => continue,
                Err(error) => panic!("{file}: {error}"),
            };
            let printed = statement.to_string();
            let again = parse(&printed).unwrap_or_else(|error| panic!("{file}: {printed}\n{error}"));
            assert_eq!(again.statements, [statement], "{printed}");
            statements += 1;
        }
    }
    assert!(statements > 100, "only {statements} statements");
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_misspelt_keyword_is_shown_and_guessed() {
    assert_eq!(
        error("select srcIp, sum(bytes) from Flow#time(10 sec) group by srcIp output evry 10 sec"),
        "Incorrect syntax near 'evry' at line 1 column 70\n\
         1 | select srcIp, sum(bytes) from Flow#time(10 sec) group by srcIp output evry 10 sec\n  \
           |                                                                       ^^^^\n  \
           = did you mean 'every'?"
    );
}

#[test]
fn a_reserved_word_out_of_place_is_called_one() {
    let error = error("select * from Flow limit 10 order by bytes");
    assert!(
        error.starts_with("Incorrect syntax near 'order' (a reserved keyword) at line 1 column 28\n"),
        "{error}"
    );
}

#[test]
fn lines_and_columns_count_from_the_text_before() {
    let error = error("select srcIp\nfrom Flow\n  where bytes >");
    assert!(
        error.starts_with("Unexpected end of statement at line 3 column 15"),
        "{error}"
    );
}

#[test]
fn one_bad_statement_does_not_lose_the_others() {
    let parsed = parse_each(
        "@name('a') select x from; @name('b') select x from S;; @name('c') import y; @name('d') select y from T",
    );
    assert_eq!(parsed.len(), 4);
    let diagnostics: Vec<_> = parsed
        .iter()
        .filter_map(|one| one.as_ref().err())
        .map(Error::diagnostic)
        .collect();
    assert_eq!(diagnostics.len(), 2);
    assert_eq!(diagnostics[0].statement.as_deref(), Some("a"));
    assert_eq!(diagnostics[1].statement.as_deref(), Some("c"));
    assert_eq!(parsed[3].as_ref().unwrap().name(), Some("d"));
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = format!("select {}x{} from S", "(".repeat(10_000), ")".repeat(10_000));
    assert!(error(&deep).starts_with("Nesting is deeper than"));
    let minus = format!("select {}x from S", "- ".repeat(10_000));
    assert!(parse(&minus).is_err());
    let long = format!("select x{} from S", " + x".repeat(100_000));
    assert!(error(&long).starts_with("The statement has more than"));
    let many = format!("select x from S(x in ({}1))", "1, ".repeat(100_000));
    assert!(parse(&many).is_ok());
}

#[test]
fn refusals_name_the_thing_and_say_what_to_write() {
    for (text, what, instead) in [
        ("select a from A -[2]> B", "Incorrect", ""),
        (
            "select * from pattern [every a=A -[2]> b=B]",
            "followed-by with a maximum",
            "where timer:within",
        ),
        (
            "select * from pattern [[2:3] a=A until b=B]",
            "a range of repetitions",
            "[n] P",
        ),
        (
            "select Math.max(a, b) from A",
            "a call of a method or class",
            "functions",
        ),
        ("select a.where(x => x > 1) from A", "a call of a method", "functions"),
        ("select * from sql:db ['select 1']", "a join with 'sql:'", "events"),
        (
            "create context C partition by a from A initiated by A(b = 1) terminated after 1 min",
            "'initiated by' of a context by key",
            "distinct",
        ),
        ("@Priority(1) select * from A", "annotation @Priority", "leave it out"),
        ("create expression f {x}", "'create expression'", "constant"),
        ("update istream A set b = 1", "'update' as a statement", "insert into"),
        (
            "on A insert into B select a insert into C select a",
            "splitting a stream",
            "one statement for each",
        ),
        (
            "select * from pattern [every timer:at(*/5, *, *, *, *)]",
            "a cron schedule",
            "timer:interval",
        ),
        ("select ? from A", "a substitution parameter", "constant"),
    ] {
        let error = error(text);
        assert!(error.contains(what) && error.contains(instead), "{text}\n{error}");
    }
}
