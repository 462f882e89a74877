//! A TCP server with one scripted reply per connection.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

/// The reply to a request.
pub(crate) enum Reply {
    /// Closes the connection.
    Close,
    /// Sends these bytes and closes the connection.
    Send(String),
    /// Sends nothing and keeps the connection open until the client closes it.
    Hang,
}

/// Starts a server. Returns its URL, and a channel that receives an element for each request.
pub(crate) fn listen(replies: Vec<Reply>) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (read, requests) = mpsc::channel();
    thread::spawn(move || {
        for reply in replies {
            let (mut connection, _) = listener.accept().unwrap();
            read_request(&mut connection);
            let _outcome = read.send(());
            match reply {
                Reply::Close => {}
                Reply::Send(bytes) => {
                    let _outcome = connection.write_all(bytes.as_bytes());
                    let _outcome = connection.shutdown(Shutdown::Write);
                }
                Reply::Hang => {
                    let _outcome = connection.read(&mut [0; 16]);
                }
            }
        }
    });
    (address, requests)
}

/// Returns a complete HTTP response.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Send(format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    ))
}

/// Reads the head of a request, and its body.
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
