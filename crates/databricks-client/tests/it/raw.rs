//! A listener below HTTP: each connection gets the next of some scripted fates, then nobody answers any more.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

/// What becomes of a connection once its request was read.
pub(crate) enum Fate {
    /// It is closed without an answer.
    Drop,
    /// It gets these bytes and is closed.
    Send(String),
    /// It stays open and silent until the client leaves.
    Hang,
}

/// The address of a listener with these fates, and the number of requests that it has read.
pub(crate) fn listen(fates: Vec<Fate>) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (read, requests) = mpsc::channel();
    thread::spawn(move || {
        for fate in fates {
            let (mut connection, _) = listener.accept().unwrap();
            read_request(&mut connection);
            let _outcome = read.send(());
            match fate {
                Fate::Drop => {}
                Fate::Send(bytes) => {
                    let _outcome = connection.write_all(bytes.as_bytes());
                    let _outcome = connection.shutdown(Shutdown::Write);
                }
                Fate::Hang => {
                    let _outcome = connection.read(&mut [0; 16]);
                }
            }
        }
    });
    (address, requests)
}

/// A whole answer as it stands on the wire.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> Fate {
    let length = body.len();
    Fate::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    ))
}

/// Reads a head and the body that its `content-length` promises.
fn read_request(connection: &mut TcpStream) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if body.len() >= length {
                return;
            }
        }
        match connection.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&chunk[..read]),
        }
    }
}
