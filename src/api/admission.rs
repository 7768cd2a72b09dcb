// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Who may ask, and how much.
//!
//! A Unix socket is its user's alone by its permissions. A TCP port of the loopback is everybody's on this host, and of every page in a
//! browser here: so each request needs the token, and a `Host` that means this host, which a page that rebinds its own name cannot say.

use super::problem::Problem;
use crate::virtual_pc::{Error, hresult};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The longest body: a machine's notes have 64 Ki characters at most, which take no more than this in JSON.
pub const BODY_MOST: usize = 512 << 10;
/// A body that has not come after so long does not come.
pub const BODY_PATIENCE: Duration = Duration::from_secs(15);
/// How a token is announced (RFC 6750).
const SCHEME: &[u8] = b"Bearer ";
/// The shortest token.
const TOKEN_LEAST: usize = 16;
/// The longest.
const TOKEN_MOST: u64 = 4096;

/// What a client must know to ask over TCP.
#[derive(Clone)]
pub struct Token(Arc<[u8]>);

impl Token {
    /// The token in a file. If there is no such file, a token is made.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let refused = |what: &str| io::Error::new(io::ErrorKind::PermissionDenied, what);
        let mut text = String::new();
        match fs::File::open(path) {
            Ok(file) => {
                // Of the file that is read, not of what is there a moment later.
                let metadata = file.metadata()?;
                // This process's own folder tells who it is.
                if metadata.uid() != fs::metadata("/proc/self")?.uid() {
                    return Err(refused("the token belongs to another user, who knows it"));
                }
                if metadata.mode() & 0o077 != 0 {
                    return Err(refused("others can read the token: change its mode to 0600"));
                }
                file.take(TOKEN_MOST).read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                text = [(); 2]
                    .map(|()| uuid::Uuid::new_v4().simple().to_string())
                    .concat();
                let mut file = fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                writeln!(file, "{text}")?;
            }
            Err(error) => return Err(error),
        }
        let token = text.trim();
        if token.len() < TOKEN_LEAST || token.contains(|c: char| !c.is_ascii_graphic()) {
            let what = format!("a token has at least {TOKEN_LEAST} printable characters and no blanks");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Self(token.as_bytes().into()))
    }

    /// Compares in a time that does not tell how much of it is right.
    fn is(&self, said: &[u8]) -> bool {
        self.0.ct_eq(said).into()
    }
}

/// Takes a whole body in, within bounds; what comes after this has it at hand.
pub async fn whole_body(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_MOST).collect();
    let problem = match tokio::time::timeout(BODY_PATIENCE, body).await {
        Ok(Ok(body)) => {
            return next
                .run(Request::from_parts(parts, Body::from(body.to_bytes())))
                .await;
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Problem::malformed(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request's body has {BODY_MOST} bytes at most"),
        ),
        Ok(Err(error)) => Problem::malformed(StatusCode::BAD_REQUEST, error.to_string()),
        Err(_) => Problem::malformed(
            StatusCode::REQUEST_TIMEOUT,
            format!(
                "the request's body has not come within {} s",
                BODY_PATIENCE.as_secs()
            ),
        ),
    };
    // The rest of the body may still be under way, and would be taken for the next request.
    let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
    (close, problem).into_response()
}

/// Lets requests pass that know the token and mean this host.
pub async fn token(State(token): State<Token>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !means_this_host(headers) {
        let error = Error::new(hresult::E_ACCESSDENIED, "the request is for another host")
            .with_remedy("ask for http://127.0.0.1:PORT, http://[::1]:PORT or http://localhost:PORT");
        return Problem::with_status(StatusCode::MISDIRECTED_REQUEST, &error).into_response();
    }
    let said = headers
        .get(header::AUTHORIZATION)
        .and_then(|said| said.as_bytes().split_at_checked(SCHEME.len()))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .map(|(_, said)| said);
    if said.is_some_and(|said| token.is(said)) {
        return next.run(request).await;
    }
    let error = Error::new(
        hresult::E_ACCESSDENIED,
        "the request has no token, or a wrong one",
    )
    .with_remedy("send `Authorization: Bearer TOKEN` with what is in the token's file");
    let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
    (challenge, Problem::with_status(StatusCode::UNAUTHORIZED, &error)).into_response()
}

fn means_this_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["127.0.0.1", "[::1]", "localhost"].contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn hosts() {
        let means = |hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
            }
            means_this_host(&headers)
        };
        for good in ["127.0.0.1", "127.0.0.1:80", "LocalHost:8080", "[::1]", "[::1]:1"] {
            assert!(means(&[good]), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost:80@evil",
            "::1",
            "localhost:x",
        ] {
            assert!(!means(&[bad]), "{bad}");
        }
        assert!(!means(&[]));
        assert!(!means(&["localhost", "evil.example"]));
    }

    #[test]
    fn tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = Token::from_file(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert!(made.is(text.trim().as_bytes()) && text.len() > 60);
        assert!(Token::from_file(&path).unwrap().is(text.trim().as_bytes()));
        for wrong in [
            "",
            "x",
            &text.trim()[1..],
            &text.trim().to_uppercase().replace('0', "1"),
        ] {
            assert!(!made.is(wrong.as_bytes()), "{wrong}");
        }
        fs::write(&path, "too short").unwrap();
        assert_eq!(
            Token::from_file(&path).err().unwrap().kind(),
            io::ErrorKind::InvalidData
        );
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            Token::from_file(&path).err().unwrap().kind(),
            io::ErrorKind::PermissionDenied
        );
    }
}
