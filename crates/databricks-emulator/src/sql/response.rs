//! Statement results as JSON (databricks-api.md#sql-statements).

#![expect(clippy::indexing_slicing, reason = "assigning to a key of a JSON object does not panic")]

use serde_json::{Value, json};
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
    /// Returns the position and the size.
    fn position(&self) -> Value {
        json!({"chunk_index": self.index, "row_offset": self.offset, "row_count": self.rows.len(),
               "byte_count": self.bytes()})
    }

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
    let parts: Vec<Value> = chunks.iter().map(Chunk::position).collect();
    json!({
        "format": "JSON_ARRAY", "schema": {"column_count": columns.len(), "columns": columns},
        "total_chunk_count": chunks.len(), "total_row_count": rows, "total_byte_count": bytes,
        "truncated": truncated, "chunks": parts,
    })
}

/// Returns the position of a chunk, and the link to the next one.
fn chunk_fields(id: &str, chunk: &Chunk, has_next: bool) -> Value {
    let mut data = chunk.position();
    if has_next {
        let (next, offset) = (chunk.index + 1, chunk.offset + chunk.rows.len());
        let path = format!("/api/2.0/sql/statements/{id}/result/chunks/{next}?row_offset={offset}");
        data["next_chunk_index"] = next.into();
        data["next_chunk_internal_link"] = path.into();
    }
    data
}

pub(super) fn inline(id: &str, chunk: &Chunk, has_next: bool) -> Value {
    let mut data = chunk_fields(id, chunk, has_next);
    data["data_array"] = json!(chunk.rows);
    data
}

pub(super) fn linked(
    id: &str,
    chunk: &Chunk,
    has_next: bool,
    link: &str,
    headers: &BTreeMap<String, String>,
) -> Value {
    let mut data = chunk_fields(id, chunk, has_next);
    data["external_link"] = link.into();
    data["expiration"] = EXPIRATION.into();
    if !headers.is_empty() {
        data["http_headers"] = json!(headers);
    }
    json!({"external_links": [data]})
}
