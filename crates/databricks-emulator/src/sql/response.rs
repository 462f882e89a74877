//! Statement results as JSON (databricks-api.md#sql-statements).

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The expiration of every link.
const EXPIRATION: &str = "2099-01-01T00:00:00.000Z";

/// A chunk of a result.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) index: usize,
    offset: usize,
    pub(super) rows: Vec<Vec<Option<String>>>,
}

impl Chunk {
    fn bytes(&self) -> usize {
        json!(self.rows).to_string().len()
    }
}

pub(super) fn chunks(
    mut rows: Vec<Vec<Option<String>>>,
    row_limit: Option<usize>,
    rows_per_chunk: usize,
) -> Vec<Chunk> {
    rows.truncate(row_limit.unwrap_or(usize::MAX));
    let size = if rows_per_chunk == 0 { rows.len().max(1) } else { rows_per_chunk };
    let parts = rows.chunks(size).enumerate();
    parts.map(|(index, rows)| Chunk { index, offset: index * size, rows: rows.to_vec() }).collect()
}

pub(super) fn manifest(columns: &[(String, String)], chunks: &[Chunk], truncated: bool) -> Value {
    let columns: Vec<Value> = columns
        .iter()
        .enumerate()
        .map(|(position, (name, kind))| {
            json!({"name": name, "position": position, "type_name": kind, "type_text": kind})
        })
        .collect();
    let rows: usize = chunks.iter().map(|chunk| chunk.rows.len()).sum();
    let bytes: usize = chunks.iter().map(Chunk::bytes).sum();
    let parts: Vec<Value> = chunks
        .iter()
        .map(|chunk| {
            json!({"chunk_index": chunk.index, "row_offset": chunk.offset, "row_count": chunk.rows.len(),
                   "byte_count": chunk.bytes()})
        })
        .collect();
    json!({
        "format": "JSON_ARRAY", "schema": {"column_count": columns.len(), "columns": columns},
        "total_chunk_count": chunks.len(), "total_row_count": rows, "total_byte_count": bytes,
        "truncated": truncated, "chunks": parts,
    })
}

/// Sets a field of a JSON object.
pub(super) fn put(object: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    object.insert(name.to_owned(), value.into());
}

/// Returns the position of a chunk, and the link to the next one.
fn chunk_fields(id: &str, chunk: &Chunk, has_next: bool) -> Map<String, Value> {
    let mut data = Map::new();
    let numbers = [
        ("chunk_index", chunk.index),
        ("row_offset", chunk.offset),
        ("row_count", chunk.rows.len()),
        ("byte_count", chunk.bytes()),
    ];
    for (name, number) in numbers {
        put(&mut data, name, number);
    }
    if has_next {
        let next = chunk.index + 1;
        let offset = chunk.offset + chunk.rows.len();
        put(&mut data, "next_chunk_index", json!(next));
        let path = format!("/api/2.0/sql/statements/{id}/result/chunks/{next}?row_offset={offset}");
        put(&mut data, "next_chunk_internal_link", json!(path));
    }
    data
}

pub(super) fn inline(id: &str, chunk: &Chunk, has_next: bool) -> Value {
    let mut data = chunk_fields(id, chunk, has_next);
    put(&mut data, "data_array", json!(chunk.rows));
    Value::Object(data)
}

pub(super) fn linked(
    id: &str,
    chunk: &Chunk,
    has_next: bool,
    link: &str,
    headers: &BTreeMap<String, String>,
) -> Value {
    let mut data = chunk_fields(id, chunk, has_next);
    put(&mut data, "external_link", json!(link));
    put(&mut data, "expiration", json!(EXPIRATION));
    if !headers.is_empty() {
        put(&mut data, "http_headers", json!(headers));
    }
    json!({"external_links": [data]})
}
