// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `vpc serve`: the HTTP API of all machines.

use super::model::open;
use crate::api::admission::Token;
use crate::api::server::{self, Ending, Server};
use crate::cli::{Error, exit};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long tasks that were cancelled at the end may take to clean up.
const TASK_PATIENCE: Duration = Duration::from_secs(10);

/// Offers all machines to programs, by HTTP and JSON on a Unix socket.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The machines stay when this ends. docs/api.md tells what can be asked for; so does /openapi.json."
)]
pub struct Args {
    /// Socket [default: virtualpc/api in $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Listen on a TCP port of the loopback too, such as 127.0.0.1:8044
    #[arg(long, value_name = "ADDRESS:PORT", requires = "token_file", value_parser = loopback)]
    tcp: Option<SocketAddr>,
    /// What clients of the TCP port must send as bearer token; made if it is not there. Nobody else may read it
    #[arg(long, value_name = "FILE", requires = "tcp")]
    token_file: Option<PathBuf>,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "an address with a port is wanted, such as 127.0.0.1:8044")?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("only addresses of the loopback (127.0.0.1, [::1]) are served: forward the port by SSH".into())
}

impl Args {
    /// Runs the command, until a signal ends it.
    pub fn run(self) -> Result<u8, Error> {
        let app = open()?;
        let path = match &self.socket {
            Some(path) => std::path::absolute(path).map_err(|error| Error::host(&error))?,
            None => server::default_path(&app),
        };
        if self.socket.is_none() {
            app.make_runtime_folder()?;
        }
        let refused = |path: &std::path::Path, error: std::io::Error| {
            Error::Use(format!("{}: {error}", path.display()))
        };
        let mut server = Server::bind(&path).map_err(|error| refused(&path, error))?;
        eprintln!("vpc: serving on {}; try", path.display());
        eprintln!(
            "  curl --unix-socket {} http://localhost/v1/machines",
            path.display()
        );
        if let (Some(address), Some(file)) = (self.tcp, &self.token_file) {
            let token = Token::from_file(file).map_err(|error| refused(file, error))?;
            let listener =
                TcpListener::bind(address).map_err(|error| Error::Use(format!("{address}: {error}")))?;
            let address = listener.local_addr().map_err(|error| Error::host(&error))?;
            server.and_tcp(listener, token);
            let header = format!("Authorization: Bearer $(cat {})", file.display());
            eprintln!("  curl -H \"{header}\" http://{address}/v1/machines");
        }
        let ending = Ending::default();
        let told = ending.clone();
        crate::host::on_end(move |_| told.begin()).map_err(|error| Error::host(&error))?;
        server.run(&app, &ending).map_err(|error| Error::host(&error))?;
        // Operations on disks leave nothing half-done when they are cancelled; machines are processes of their own and stay.
        let tasks: Vec<_> = app
            .tasks()
            .into_iter()
            .filter(|task| task.cancel().is_ok())
            .collect();
        let end = Instant::now() + TASK_PATIENCE;
        for task in tasks {
            let left = end.saturating_duration_since(Instant::now());
            task.wait_for_completion(i32::try_from(left.as_millis()).unwrap_or(0))?;
        }
        eprintln!("vpc: ended");
        Ok(exit::DONE)
    }
}
