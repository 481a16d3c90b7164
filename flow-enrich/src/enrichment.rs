use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::Error;
use crate::resolver::Resolver;

/// A column of addresses, and what to call the columns that say what is known of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressColumns<'a> {
    /// The column to resolve, of 16 bytes a value.
    pub address: &'a str,
    /// To be added: whether the address is ours, never null.
    pub internal: &'a str,
    /// To be added: the subnet's name.
    pub subnet: &'a str,
    /// To be added: its router.
    pub router: &'a str,
    /// To be added: the router's interface.
    pub interface: &'a str,
    /// To be added: the VLAN.
    pub vlan: &'a str,
}

/// The fields that resolving one column of addresses adds, in their order.
#[must_use]
pub fn added_fields(names: &AddressColumns<'_>) -> [Field; 5] {
    let text = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    [
        Field::new(names.internal, DataType::Boolean, false),
        Field::new(names.subnet, text(), true),
        Field::new(names.router, text(), true),
        Field::new(names.interface, text(), true),
        Field::new(names.vlan, DataType::UInt16, true),
    ]
}

/// How batches of one schema are resolved: planned once, used for every batch and with every resolver.
#[derive(Debug, Clone)]
pub struct Enrichment {
    /// Of the batches that come in.
    source: SchemaRef,
    /// Of those that go out.
    target: SchemaRef,
    /// The columns of addresses, in the order in which their columns are added.
    addresses: Vec<usize>,
}

impl Enrichment {
    /// Plans to resolve columns of `schema`: five columns are added for each, behind those that are there.
    ///
    /// # Errors
    ///
    /// [`Error::ColumnMissing`], [`Error::ColumnType`] if there is no such column of 16 bytes, [`Error::ColumnTaken`]
    /// if a column to be added is there already.
    pub fn new(schema: &SchemaRef, columns: &[AddressColumns<'_>]) -> Result<Self, Error> {
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().cloned().collect();
        let mut addresses = Vec::with_capacity(columns.len());
        for names in columns {
            let Some((index, field)) = schema.column_with_name(names.address) else {
                return Err(Error::ColumnMissing {
                    column: names.address.to_owned(),
                });
            };
            if *field.data_type() != DataType::FixedSizeBinary(16) {
                return Err(Error::ColumnType {
                    column: names.address.to_owned(),
                    found: field.data_type().clone(),
                });
            }
            addresses.push(index);
            for added in added_fields(names) {
                if fields.iter().any(|field| field.name() == added.name()) {
                    return Err(Error::ColumnTaken {
                        column: added.name().clone(),
                    });
                }
                fields.push(Arc::new(added));
            }
        }
        let target = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        Ok(Self {
            source: Arc::clone(schema),
            target,
            addresses,
        })
    }

    /// The schema of resolved batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.target
    }

    /// Adds the columns to a batch.
    ///
    /// # Errors
    ///
    /// [`Error::SchemaChanged`] if the batch's fields are not those that the enrichment was made for.
    pub fn resolve(&self, resolver: &Resolver, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        if !Arc::ptr_eq(batch.schema_ref(), &self.source) && batch.schema_ref().fields() != self.source.fields() {
            return Err(Error::SchemaChanged);
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.target.fields().len());
        columns.extend(batch.columns().iter().cloned());
        for &index in &self.addresses {
            let resolved = resolver.resolve_column(batch.column(index).as_fixed_size_binary())?;
            columns.push(Arc::new(resolved.internal));
            columns.push(Arc::new(resolved.subnet));
            columns.push(Arc::new(resolved.router));
            columns.push(Arc::new(resolved.interface));
            columns.push(Arc::new(resolved.vlan));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.target), columns)?)
    }
}
