//! What does a request do, in the server's words?
//!
//! Mirrors OpenBao `internal/http/logical.go`, `buildLogicalRequestNoAuth`: the verb, and of a GET
//! whether its query makes it a list or a scan.

use super::Operation;
use super::parameters::pairs;

impl Operation {
    /// What a request with this verb and query does.
    pub fn of(verb: &str, query: &[u8]) -> Self {
        let first = |name: &[u8]| {
            let mut values = pairs(query).filter(|(key, _)| &**key == name);
            values.next().map(|(_, value)| value)
        };
        if verb == "HELP" || first(b"help").is_some_and(|value| !value.is_empty()) {
            return Self::Help;
        }
        match verb {
            "GET" => {
                // Text that is no truth value, and both at once, the server refuses.
                match (first(b"list").map(|it| truth(&it)), first(b"scan").map(|it| truth(&it))) {
                    (Some(None), _) | (_, Some(None)) | (Some(Some(true)), Some(Some(true))) => {
                        Self::Other
                    }
                    (Some(Some(true)), _) => Self::List,
                    (_, Some(Some(true))) => Self::Scan,
                    _ => Self::Read,
                }
            }
            "DELETE" => Self::Delete,
            "HEAD" => Self::Head,
            "LIST" => Self::List,
            "PATCH" => Self::Patch,
            "POST" | "PUT" => Self::Write,
            "SCAN" => Self::Scan,
            _ => Self::Other,
        }
    }

    /// What Vault calls it. Whether a write creates or updates only the server knows: it calls one
    /// an update where nothing can tell.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Head => "header",
            Self::Help => "help",
            Self::List => "list",
            Self::Other => "unknown",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Scan => "scan",
            Self::Update | Self::Write => "update",
        }
    }
}

/// Go's `strconv.ParseBool`; empty counts as not given, that is false.
fn truth(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Some(true),
        b"" | b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_decides_what_a_get_does_as_on_the_server() {
        for (verb, query, expected) in [
            ("GET", "", Operation::Read),
            ("GET", "list=true", Operation::List),
            ("GET", "list=1&list=false", Operation::List),
            ("GET", "l%69st=true", Operation::List),
            ("GET", "list=", Operation::Read),
            ("GET", "LIST=true", Operation::Read),
            ("GET", "list=true;scan=true", Operation::Read),
            ("GET", "scan=T", Operation::Scan),
            ("GET", "list=yes", Operation::Other),
            ("GET", "list=true&scan=true", Operation::Other),
            ("GET", "help=1", Operation::Help),
            ("GET", "help=", Operation::Read),
            ("HELP", "", Operation::Help),
            ("LIST", "", Operation::List),
            ("PUT", "list=true", Operation::Write),
            ("get", "", Operation::Other),
        ] {
            assert_eq!(Operation::of(verb, query.as_bytes()), expected, "{verb} {query}");
        }
    }
}
