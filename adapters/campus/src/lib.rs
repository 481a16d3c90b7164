//! A small invented campus whose probes export NetFlow: demonstration source and load generator.
