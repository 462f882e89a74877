//! The rows of a statement, read chunk by chunk.

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    STATEMENTS, external_link,
    response::{Chunk, ExternalLink, StatementResponse},
};
use crate::{
    Client, Error, ErrorKind,
    api::json,
    http::{download::download, off_worker::off_worker, request::Request},
};

/// The largest number of chunks. A result of 100 GiB has fewer.
const MAX_CHUNKS: usize = 10_000;

/// The memory of a value in addition to its text, in bytes.
const VALUE_OVERHEAD: usize = 40;

/// The rows of a statement. Each value is a string, or none for NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementRows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    is_truncated: bool,
}

impl StatementRows {
    /// Creates rows, for tests.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Self {
        Self { columns, rows, is_truncated: false }
    }

    /// Returns the names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the rows. Each has one value per column.
    pub fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    /// True if the row limit removed rows.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Appends rows. Rejects a row whose number of values differs from the number of columns.
    fn add(&mut self, rows: Vec<Vec<Option<String>>>) -> Result<(), Error> {
        if rows.iter().any(|row| row.len() != self.columns.len()) {
            let text = "the number of values in a row differs from the number of columns";
            return Err(Error::new(ErrorKind::Decode, text));
        }
        self.rows.extend(rows);
        Ok(())
    }
}

/// Reads the result of one statement.
pub(super) struct ResultReader<'a> {
    client: &'a Client,
    id: &'a str,
    /// The bytes that may still be read.
    remaining_bytes: usize,
}

impl<'a> ResultReader<'a> {
    pub(super) fn new(client: &'a Client, id: &'a str) -> Self {
        Self { client, id, remaining_bytes: client.settings().max_response_bytes }
    }

    /// Reads all rows. The first chunk is part of the response.
    pub(super) async fn read(
        mut self,
        response: StatementResponse,
        deadline: Instant,
    ) -> Result<StatementRows, Error> {
        let manifest = response.manifest.unwrap_or_default();
        let columns = manifest.schema.unwrap_or_default().columns;
        let mut rows = StatementRows {
            columns: columns.into_iter().map(|column| column.name.unwrap_or_default()).collect(),
            rows: Vec::new(),
            is_truncated: manifest.truncated.unwrap_or(false),
        };
        let (mut index, mut chunk) = (0, response.result.unwrap_or_default());
        for _ in 0..MAX_CHUNKS {
            let next = chunk.next_index();
            self.append(index, chunk, &mut rows, deadline).await?;
            let Some(next) = next else { return Ok(rows) };
            if next <= index {
                break;
            }
            (index, chunk) = (next, self.chunk(next).await?);
        }
        Err(Error::new(ErrorKind::Decode, "the result has an endless series of chunks"))
    }

    async fn chunk(&self, index: i64) -> Result<Chunk, Error> {
        let path = format!("/{}/result/chunks/{index}", self.id);
        self.client.call(&Request::get(STATEMENTS, &[]).with_path(&path)).await
    }

    /// Appends the rows of one chunk.
    async fn append(
        &mut self,
        index: i64,
        chunk: Chunk,
        rows: &mut StatementRows,
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Some(values) = chunk.rows {
            let sizes = values.iter().flatten();
            let sizes = sizes.map(|value| value.as_ref().map_or(0, String::len) + VALUE_OVERHEAD);
            self.consume(sizes.sum())?;
            rows.add(values)?;
        }
        for (n, link) in chunk.external_links.iter().enumerate() {
            let bytes = match self.follow(link, deadline).await {
                // The link may have expired or the storage may be unavailable: retries once with a new link.
                Err(error) if error.kind() != ErrorKind::Forbidden || error.status().is_some() => {
                    let chunk = self.chunk(index).await?;
                    let link = chunk.external_links.get(n).ok_or(error)?;
                    self.follow(link, deadline).await?
                }
                outcome => outcome?,
            };
            self.consume(bytes.len())?;
            let values = off_worker(bytes.len(), move || json::read_array(bytes)).await??;
            rows.add(values)?;
        }
        Ok(())
    }

    /// Subtracts from the remaining bytes.
    fn consume(&mut self, bytes: usize) -> Result<(), Error> {
        let limit = self.client.settings().max_response_bytes;
        self.remaining_bytes = self.remaining_bytes.checked_sub(bytes).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, format!("the result exceeds {limit} bytes"))
        })?;
        Ok(())
    }

    /// Downloads the target of a link. Sends no token, since the link itself grants access.
    async fn follow(&self, link: &ExternalLink, deadline: Instant) -> Result<Bytes, Error> {
        let settings = self.client.settings();
        let hosts = &settings.external_link_hosts;
        let host = external_link::check(&link.url, self.client.host(), hosts)?;
        let headers = external_link::headers(link)?;
        tracing::debug!(%host, "following an external link");
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.min(settings.request_timeout);
        let http = self.client.http_for(&host);
        download(http, link.url.expose(), headers, timeout, self.remaining_bytes).await
    }
}
