-- Macros to read a Millrace dataset with DuckDB.
--
--   duckdb -init flow-store/sql/duckdb.sql
--   SELECT address_text(src_addr) AS source, sum(bytes) AS bytes
--   FROM flows('DATA/flows') WHERE date = '2026-11-23' GROUP BY ALL ORDER BY bytes DESC LIMIT 10;
--
-- Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. As bytes they compare and sort as numbers do:
--   WHERE src_addr BETWEEN address('10.0.0.0') AND address('10.255.255.255')

-- The files that are committed, by the dataset's manifest. (A plain glob of the folder also sees a file
-- in the instant between its appearance and its commit; see docs/STORAGE.md.)
CREATE OR REPLACE MACRO committed(folder) AS TABLE
    SELECT folder || '/' || added.path AS path, added.rows AS rows, added.bytes AS bytes
    FROM (
        SELECT unnest("add") AS added, number
        FROM read_json(folder || '/_manifest.jsonl', format = 'newline_delimited', ignore_errors = true, columns = {
            number: 'BIGINT',
            add: 'STRUCT(path VARCHAR, rows BIGINT, bytes BIGINT, first_ms BIGINT, last_ms BIGINT)[]'})
    )
    WHERE added.path NOT IN (
        SELECT unnest(remove)
        FROM read_json(folder || '/_manifest.jsonl', format = 'newline_delimited', ignore_errors = true,
                       columns = {remove: 'VARCHAR[]'})
    );

-- All flows of a dataset. Conditions on date and hour choose folders, those on time choose row groups.
CREATE OR REPLACE MACRO flows(folder) AS TABLE
    SELECT * FROM read_parquet(folder || '/date=*/hour=*/*.parquet',
        hive_partitioning = true, hive_types = {'date': DATE, 'hour': INTEGER});

-- 16 bytes as text: '192.0.2.1', or the eight groups of an IPv6 address without leading zeros.
CREATE OR REPLACE MACRO address_text(bytes) AS
    CASE
        WHEN bytes IS NULL THEN NULL
        WHEN left(hex(bytes), 24) = '00000000000000000000FFFF' THEN
            concat_ws('.',
                ('0x' || substr(hex(bytes), 25, 2))::UTINYINT, ('0x' || substr(hex(bytes), 27, 2))::UTINYINT,
                ('0x' || substr(hex(bytes), 29, 2))::UTINYINT, ('0x' || substr(hex(bytes), 31, 2))::UTINYINT)
        ELSE array_to_string(list_transform(range(8),
            lambda i: lower(coalesce(nullif(ltrim(substr(hex(bytes), (4 * i + 1)::BIGINT, 4), '0'), ''), '0'))), ':')
    END;

-- Text as 16 bytes: IPv4, or IPv6 with or without '::'.
CREATE OR REPLACE MACRO address(text) AS
    unhex(CASE
        WHEN contains(text, ':') THEN
            array_to_string(list_transform(
                CASE WHEN contains(text, '::') THEN list_concat(
                    list_filter(string_split(split_part(text, '::', 1), ':'), lambda g: g <> ''),
                    list_transform(range(8
                        - len(list_filter(string_split(split_part(text, '::', 1), ':'), lambda g: g <> ''))
                        - len(list_filter(string_split(split_part(text, '::', 2), ':'), lambda g: g <> ''))), lambda i: '0'),
                    list_filter(string_split(split_part(text, '::', 2), ':'), lambda g: g <> ''))
                ELSE string_split(text, ':') END,
                lambda g: lpad(g, 4, '0')), '')
        ELSE '00000000000000000000FFFF' || array_to_string(list_transform(string_split(text, '.'),
            lambda g: printf('%02X', g::INTEGER)), '')
    END);
