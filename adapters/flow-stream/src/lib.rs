//! Stream processor: combine, resolve, statements and drain on timely workers.
