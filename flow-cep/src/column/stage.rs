//! Expressions over a selection of columns that are made only for them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::scalar::{Compiled, Scalar};

/// Expressions, and which of the columns that there are they read.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// The columns that are read, by number.
    pub(crate) columns: Vec<usize>,
    /// These columns.
    pub(crate) schema: SchemaRef,
    pub(crate) scalars: Vec<Compiled>,
}

impl Stage {
    /// Expressions over columns of the given types.
    pub(crate) fn new(scalars: &[Scalar], types: &[DataType]) -> Self {
        let mut columns: Vec<usize> = scalars.iter().flat_map(Scalar::columns).collect();
        columns.sort_unstable();
        columns.dedup();
        let place = |column: usize| columns.iter().position(|&known| known == column).unwrap_or(0);
        let fields: Vec<Field> = columns
            .iter()
            .map(|&column| Field::new(format!("_{column}"), types[column].clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let scalars = scalars
            .iter()
            .map(|scalar| scalar.remap(place).compile(&schema))
            .collect();
        Self {
            columns,
            schema,
            scalars,
        }
    }

    /// The columns as what the expressions are evaluated on. None if they are not of the types told.
    pub(crate) fn batch(&self, rows: usize, columns: Vec<ArrayRef>) -> Option<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).ok()
    }
}
