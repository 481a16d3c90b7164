use arrow_schema::{ArrowError, DataType};

use crate::table::Problem;

/// Why a subnet list cannot be used, or a batch not be resolved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The subnet list has mistakes. Nothing of it is used, so that a list in force is replaced by a whole one or not
    /// at all.
    #[error("{}", problem_list(.problems, *.unreported))]
    Table {
        /// The first mistakes, in the order of the file.
        problems: Vec<Problem>,
        /// How many more there are.
        unreported: usize,
    },
    /// The schema lacks a column of addresses.
    #[error("no column `{column}` to resolve")]
    ColumnMissing {
        /// The column that was asked for.
        column: String,
    },
    /// The schema already has a column of the name of one to be added.
    #[error("column `{column}` is there already")]
    ColumnTaken {
        /// The name in question.
        column: String,
    },
    /// A column of addresses is not of 16 bytes.
    #[error("column `{column}` is {found}, not 16 bytes")]
    ColumnType {
        /// The column of addresses.
        column: String,
        /// Its type.
        found: DataType,
    },
    /// A batch does not have the schema that the enrichment was made for.
    #[error("the batch has another schema than the enrichment was made for")]
    SchemaChanged,
    /// Arrow refused to build an array or a batch.
    #[error("building the added columns: {0}")]
    Arrow(#[from] ArrowError),
}

/// One mistake a line, each with its line and column, as `LINE:COLUMN: TEXT`.
fn problem_list(problems: &[Problem], unreported: usize) -> String {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if unreported > 0 {
        lines.push(format!("and {unreported} more"));
    }
    lines.join("\n")
}
