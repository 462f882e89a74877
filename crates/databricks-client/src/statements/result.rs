//! The rows of a statement, part by part.

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    STATEMENTS, link,
    wire::{Data, ExternalLink, Response},
};
use crate::{Client, Error, ErrorKind, request::Request, transport};

/// The most parts of one result; one of a hundred gibibytes has fewer.
const MAX_PARTS: usize = 10_000;

/// What a value takes beside its bytes.
const BYTES_A_VALUE: usize = 8;

/// What a statement gives. Every value is text, or none for NULL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatementRows {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
    is_truncated: bool,
}

impl StatementRows {
    /// Rows of no statement, for tests of what is made of them.
    pub fn new(columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Self {
        Self { columns, rows, is_truncated: false }
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows; each has a value for every column.
    pub fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    /// Whether there were more rows than were asked for.
    pub fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// Adds rows, which must have as many values as there are columns.
    fn add(&mut self, rows: Vec<Vec<Option<String>>>) -> Result<(), Error> {
        if rows.iter().any(|row| row.len() != self.columns.len()) {
            let what = "a row of the result has not as many values as there are columns";
            return Err(Error::new(ErrorKind::Decode, what));
        }
        self.rows.extend(rows);
        Ok(())
    }
}

/// Reads the result of one statement.
pub(super) struct Reading<'a> {
    client: &'a Client,
    id: &'a str,
    /// What may still be read, in bytes.
    room: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn new(client: &'a Client, id: &'a str) -> Self {
        Self { client, id, room: client.settings().max_response_bytes }
    }

    /// All rows, beginning with those that the answer itself brings.
    pub(super) async fn read(
        mut self,
        answer: Response,
        deadline: Instant,
    ) -> Result<StatementRows, Error> {
        let manifest = answer.manifest.unwrap_or_default();
        let columns = manifest.schema.unwrap_or_default().columns;
        let mut rows = StatementRows {
            columns: columns.into_iter().map(|column| column.name.unwrap_or_default()).collect(),
            rows: Vec::new(),
            is_truncated: manifest.truncated.unwrap_or(false),
        };
        let (mut index, mut data) = (0, answer.result.unwrap_or_default());
        for _ in 0..MAX_PARTS {
            let next = data.next();
            self.take(index, data, &mut rows, deadline).await?;
            let Some(next) = next else { return Ok(rows) };
            if next <= index {
                break;
            }
            (index, data) = (next, self.part(next).await?);
        }
        Err(Error::new(ErrorKind::Decode, "the parts of the result have no end"))
    }

    async fn part(&self, index: i64) -> Result<Data, Error> {
        let path = format!("/{}/result/chunks/{index}", self.id);
        self.client.call(&Request::get(STATEMENTS, &[]).below(&path)).await
    }

    /// Adds the rows of one part.
    async fn take(
        &mut self,
        index: i64,
        data: Data,
        rows: &mut StatementRows,
        deadline: Instant,
    ) -> Result<(), Error> {
        if let Some(given) = data.rows {
            let values = given.iter().flatten();
            let size = values.map(|value| value.as_ref().map_or(0, String::len) + BYTES_A_VALUE);
            self.take_room(size.sum())?;
            rows.add(given)?;
        }
        for place in 0..data.external_links.len() {
            let Some(found) = data.external_links.get(place) else { break };
            let bytes = match self.follow(found, deadline).await {
                // A link lasts for a quarter of an hour, and storages have their moments: once more, with a new one.
                Err(failed)
                    if failed.kind() != ErrorKind::Forbidden || failed.status().is_some() =>
                {
                    let again = self.part(index).await?;
                    let link = again.external_links.get(place).ok_or(failed)?;
                    self.follow(link, deadline).await?
                }
                outcome => outcome?,
            };
            self.take_room(bytes.len())?;
            let given = serde_json::from_slice(&bytes).map_err(|error| {
                // serde's own words may quote the rows.
                let (line, column) = (error.line(), error.column());
                let what = format!(
                    "a part of the result is not rows in JSON (line {line}, column {column})"
                );
                Error::new(ErrorKind::Decode, what)
            })?;
            rows.add(given)?;
        }
        Ok(())
    }

    fn take_room(&mut self, bytes: usize) -> Result<(), Error> {
        let most = self.client.settings().max_response_bytes;
        self.room = self.room.checked_sub(bytes).ok_or_else(|| {
            Error::new(ErrorKind::TooLarge, format!("the result has more than {most} bytes"))
        })?;
        Ok(())
    }

    /// What a link leads to. No token of the workspace goes with the request, for the link is one.
    async fn follow(&self, found: &ExternalLink, deadline: Instant) -> Result<Bytes, Error> {
        let settings = self.client.settings();
        let host = link::permitted(&found.address, self.client.host(), &settings.link_hosts)?;
        let headers = link::headers(found)?;
        tracing::debug!(%host, "a part of a result is fetched by its link");
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.min(settings.request_timeout);
        let http = self.client.http_beside(&host);
        transport::download(http, found.address.expose(), headers, timeout, self.room).await
    }
}
