//! Drain of enriched bundles into the Parquet dataset.
