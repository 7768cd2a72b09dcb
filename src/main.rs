// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The `vpc` program: parse, call, print what went wrong, exit.

use clap::Parser;
use std::process::ExitCode;
use virtualpc::cli::{Cli, exit};

fn main() -> ExitCode {
    // That crate logs what guests do wrong as errors, as often as they do it; the device itself says it once, for debugging.
    env_logger::Builder::from_env(env_logger::Env::new().filter_or("VPC_LOG", "warn,virtio_queue=off"))
        .format_target(false)
        .format_timestamp(None)
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match cli.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprint!("{}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Help goes to standard output; what is wrong with the command line, in one line to standard error.
fn explain(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    {
        // Nobody listens: nothing to be done about it.
        let _ = error.print();
        return ExitCode::from(error.exit_code() as u8);
    }
    let text = error.to_string();
    let words: Vec<_> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    let words = words.join(" ");
    eprintln!("vpc: {}", words.strip_prefix("error: ").unwrap_or(&words));
    ExitCode::from(exit::USE)
}
