//! A server of bare text: one connection after the other gets the next answer, whatever it asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

/// The server's port and the head of every request, lower case.
pub(crate) fn serve(answers: Vec<String>) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads_in, heads) = mpsc::sync_channel(16);
    std::thread::spawn(move || {
        for (answer, stream) in answers.into_iter().zip(listener.incoming()) {
            let mut stream = stream.unwrap();
            heads_in.send(head(&stream)).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (port, heads)
}

fn head(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    head
}

/// A refusal with these headers (each with its line end).
pub(crate) fn refusal(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: 2\r\n\r\nno")
}

/// A whole answer that says hi, in the pieces of bytes that a server likes.
pub(crate) fn hi() -> String {
    let item = r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}"#;
    let body = format!(
        "data: {{\"type\":\"response.output_item.done\",\"item\":{item}}}\r\n\r\ndata: {{\"type\":\"response.completed\",\"response\":{{}}}}\r\n\r\n"
    );
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}
