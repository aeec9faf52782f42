//! An MCP server on standard input and output for the tests, well-behaved or not: its first argument says how.

use std::io::Write;
use std::time::Duration;

use rmcp::ServiceExt;

#[path = "../tests/mcp/tools.rs"]
mod tools;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(1000);

fn main() -> std::io::Result<()> {
    let manner = std::env::args().nth(1).unwrap_or_default();
    match manner.as_str() {
        "silent" => std::thread::sleep(FOR_EVER),
        "broken" => {
            writeln!(
                std::io::stderr(),
                "no licence for {}",
                std::env::var("SECRET_TOKEN").unwrap_or_default()
            )?;
            std::process::exit(7);
        }
        "babbling" => {
            let mut out = std::io::stdout();
            out.write_all(b"Welcome!\n\xff\xfe\n{\"jsonrpc\": \n{\"unknown\": true}\n[1]\n\n")?;
            out.write_all(&vec![b'x'; 1024 * 1024])?;
            out.write_all(b"\n")?;
            out.flush()?;
            writeln!(std::io::stderr(), "{}", "y".repeat(1024 * 1024))?;
        }
        _ => {}
    }
    serve()?;
    if manner == "stubborn" {
        std::thread::sleep(FOR_EVER);
    }
    Ok(())
}

fn serve() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let service = tools::Tools::default().serve(rmcp::transport::stdio());
        let service = service.await.map_err(std::io::Error::other)?;
        service.waiting().await.map_err(std::io::Error::other)?;
        Ok(())
    })
}
