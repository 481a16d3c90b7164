//! Writes a hundred statements for `flow-cep bench`.
//!
//! `hundred_statements snapshot|first > hundred.epl` writes statements of the catalogue's shapes. Filters, keys, windows and
//! thresholds vary: five filters, four keys, three spans and, for each of them, thresholds of several heights. With `snapshot`
//! each statement gives what exceeds its threshold every ten seconds, with `first` as soon as it does and again after five minutes,
//! as the rules of the catalogue do. The events are those of `campus_events`.
//!
//! `hundred_statements catalogue statements/*.epl > hundred.epl` writes the alarms of files of the catalogue again and again until
//! they are a hundred, each time with other thresholds and every other time with windows of half the length. Files whose statements
//! feed one another are left out. The events are of Millrace's flow schema.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use flow_cep::syntax::ast::{Body, Expr, ExprKind, FromItem, OutputKind, Source, Statement, TimeUnit};
use flow_cep::value::Value;

const FILTERS: [&str; 5] = [
    "",
    "(proto = 6)",
    "(proto = 6, packets <= 3)",
    "(srcInternal = true, dstInternal = false)",
    "(proto = 17, dstPort in (53, 123, 5060))",
];

const KEYS: [&str; 4] = ["srcIp", "dstIp", "srcIp, dstIp", "srcIp, dstPort"];

/// Spans in seconds.
const SPANS: [u32; 5] = [60, 60, 60, 30, 20];

/// What the thresholds of the catalogue are multiplied by, each time in tenths.
const HEIGHTS: [i64; 10] = [10, 13, 17, 22, 30, 40, 50, 60, 70, 80];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let statements = match arguments.next().as_deref() {
        Some("snapshot") => shapes("output snapshot every 10 sec"),
        Some("first") => shapes("output first every 5 min"),
        Some("catalogue") => catalogue(&arguments.map(PathBuf::from).collect::<Vec<_>>())?,
        _ => bail!("usage: hundred_statements snapshot|first|catalogue FILE.epl .."),
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for statement in statements {
        writeln!(out, "{statement};").context("cannot write")?;
    }
    out.flush().context("cannot write")
}

/// A hundred statements of the catalogue's shapes.
fn shapes(output: &str) -> Vec<String> {
    let shape = |number: usize| {
        let filter = FILTERS[number % 5];
        let key = KEYS[number / 5 % 4];
        let span = SPANS[number / 20];
        let height = 1 + number / 20;
        let (value, threshold) = match number % 3 {
            0 => ("count(*)", 2_000 * height),
            1 => ("sum(bytes)", 500_000_000 * height),
            _ if key.contains("dstIp") => ("count(distinct dstPort)", 800 * height),
            _ => ("count(distinct dstIp)", 800 * height),
        };
        format!(
            "@name('s{number:02}')\nselect {key}, {value} as value, count(*) as flows from Flow{filter}#time({span} sec) \
             group by {key} having {value} >= {threshold} {output}"
        )
    };
    (0..100).map(shape).collect()
}

/// A hundred statements of these files, with the constants that they use.
fn catalogue(files: &[PathBuf]) -> Result<Vec<String>> {
    let modules: Vec<Vec<Statement>> = files.iter().map(|file| read(file)).collect::<Result<_>>()?;
    let alone: Vec<&Vec<Statement>> = modules.iter().filter(|module| module.iter().all(is_alone)).collect();
    let mut written = Vec::new();
    let mut selects = 0;
    for (turn, height) in HEIGHTS.iter().enumerate() {
        for module in &alone {
            let wanted = 100 - selects;
            let (constants, alarms): (Vec<&Statement>, Vec<&Statement>) =
                module.iter().partition(|statement| is_constant(statement));
            let alarms = alarms.into_iter().take(wanted);
            let names: Vec<&str> = constants
                .iter()
                .filter_map(|constant| constant_name(constant))
                .collect();
            selects += alarms.len();
            for statement in constants.iter().copied().chain(alarms) {
                let mut statement = statement.clone();
                vary(&mut statement, *height, turn);
                written.push(renamed(&statement.to_string(), &names, turn));
            }
        }
    }
    if selects < 100 {
        bail!("these files have {selects} alarms in ten turns, not a hundred");
    }
    Ok(written)
}

fn read(file: &Path) -> Result<Vec<Statement>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let module = flow_cep::syntax::parse(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok(module.statements)
}

fn is_constant(statement: &Statement) -> bool {
    constant_name(statement).is_some()
}

fn constant_name(statement: &Statement) -> Option<&str> {
    match &statement.body {
        Body::CreateVariable(variable) if variable.constant => Some(&variable.name.name),
        _ => None,
    }
}

/// Whether a statement is an alarm that needs no other but constants, or a constant.
fn is_alone(statement: &Statement) -> bool {
    match &statement.body {
        Body::Select(select) => {
            let is_alarm = matches!(&select.output, Some(output) if output.kind == OutputKind::First);
            let is_stream =
                |item: &FromItem| matches!(&item.source, Source::Filter(filter) if filter.name.name == "Flow");
            is_alarm && select.insert.is_none() && select.into_table.is_none() && select.from.iter().all(is_stream)
        }
        _ => is_constant(statement),
    }
}

/// Multiplies a threshold; halves a window every other turn.
fn vary(statement: &mut Statement, height: i64, turn: usize) {
    match &mut statement.body {
        Body::CreateVariable(variable) => {
            // Bounds of a single flow are no thresholds.
            let is_bound = ["_MIN", "_MAX", "_SPREAD"]
                .iter()
                .any(|part| variable.name.name.contains(part));
            if let (false, Some(value)) = (is_bound, &mut variable.value) {
                multiply(value, (height, 10));
            }
        }
        Body::Select(select) if turn % 2 == 1 => {
            let arguments = select.from.iter_mut().flat_map(|item| &mut item.views);
            for argument in arguments.flat_map(|view| &mut view.arguments) {
                if let ExprKind::Period(parts) = &mut argument.kind {
                    parts.iter_mut().for_each(halve);
                }
            }
        }
        _ => {}
    }
}

/// Halves seconds or minutes.
fn halve((value, unit): &mut (Expr, TimeUnit)) {
    match unit {
        TimeUnit::Second => {
            *unit = TimeUnit::Millisecond;
            multiply(value, (500, 1));
        }
        TimeUnit::Minute => {
            *unit = TimeUnit::Second;
            multiply(value, (30, 1));
        }
        _ => {}
    }
}

/// Multiplies a literal of whole numbers with a fraction.
fn multiply(literal: &mut Expr, (by, of): (i64, i64)) {
    let ExprKind::Literal(value) = &mut literal.kind else {
        return;
    };
    let scaled = |number: i64| number.saturating_mul(by) / of;
    *value = match *value {
        Value::Int(number) => Value::Int(i32::try_from(scaled(number.into())).unwrap_or(i32::MAX)),
        Value::Long(number) => Value::Long(scaled(number)),
        _ => return,
    };
}

/// The text of a statement in which the constants and the statement itself have names of this turn.
fn renamed(statement: &str, constants: &[&str], turn: usize) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut text = String::new();
    let mut rest = statement;
    while let Some(start) = rest.find(is_part) {
        text.push_str(&rest[..start]);
        let name = &rest[start..];
        let name = &name[..name.find(|letter| !is_part(letter)).unwrap_or(name.len())];
        text.push_str(name);
        if constants.contains(&name) {
            text.push_str(&format!("_{turn}"));
        }
        rest = &rest[start + name.len()..];
    }
    text.push_str(rest);
    text.replacen("')", &format!("_{turn}')"), usize::from(text.starts_with('@')))
}
