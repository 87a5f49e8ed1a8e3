//! What the command line and the environment say, laid over the file.

use super::problem::{Origin, Report};
use super::tree::{Entry, Node, Value};

/// Sets `key`, for example `upstream.timeout` or `listeners.0.address`, to `text`.
///
/// Missing sections are made; an index one past the end of a list adds to it. Text that begins with
/// `[` or `{` is YAML, any other stands for itself.
pub(super) fn set(root: &mut Node, key: &str, text: &str, origin: &Origin, report: &Report) {
    let value = if text.starts_with(['[', '{']) && !begins_with_placeholder(text) {
        let Ok(mut node) = Node::parse(text) else {
            let what = "begins like a YAML list or mapping and is not one";
            return report.add(origin, key, what, "close every bracket and quote, as in [a, b]");
        };
        node.move_to(origin);
        node.value
    } else {
        Value::Word(text.to_owned())
    };
    if let Some(target) = reach(root, key, origin, report) {
        target.value = value;
        target.origin = origin.clone();
    }
}

/// Whether `text` begins as in `{namespace}-{service_account}`. As YAML that would be a mapping of
/// a key to nothing, which no key wants.
fn begins_with_placeholder(text: &str) -> bool {
    let inside = text.strip_prefix('{').and_then(|text| text.split_once('}'));
    let name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    inside.is_some_and(|(inside, _)| !inside.is_empty() && name(inside))
}

/// Whether nothing is at `key` and something could be.
pub(super) fn free(root: &Node, key: &str) -> bool {
    let mut node = root;
    for name in key.split('.') {
        let Value::Map(entries) = &node.value else { break };
        let Some(entry) = entries.iter().find(|entry| entry.key == name) else { return true };
        node = &entry.node;
    }
    node.value == Value::Null
}

/// The node at `key`, made where it is missing. `None`: there is no way there, and it was reported.
fn reach<'a>(
    root: &'a mut Node,
    key: &str,
    origin: &Origin,
    report: &Report,
) -> Option<&'a mut Node> {
    let mut node = root;
    for (depth, name) in key.split('.').enumerate() {
        let index = name.parse::<usize>().ok();
        match index {
            None if node.value == Value::Null => node.value = Value::Map(vec![]),
            Some(0) if node.value == Value::Null => node.value = Value::List(vec![]),
            _ => {}
        }
        let missing = Node { value: Value::Null, origin: origin.clone() };
        node = match (&mut node.value, index) {
            (Value::List(items), Some(index)) if index <= items.len() => {
                if index == items.len() {
                    items.push(missing);
                }
                &mut items[index]
            }
            (Value::Map(entries), _) => {
                entries.retain(|entry| !rivals(key).contains(&entry.key.as_str()));
                let known = entries.iter().position(|entry| entry.key == name);
                let at = known.unwrap_or_else(|| {
                    let (key, origin) = (name.to_owned(), origin.clone());
                    entries.push(Entry { key, origin, node: missing });
                    entries.len() - 1
                });
                &mut entries[at].node
            }
            _ => {
                let above: Vec<&str> = key.split('.').take(depth).collect();
                let what = format!("`{}` has no `{}`", above.join("."), name.escape_debug());
                let hint = "entries of a list are numbered from 0; `vaultlet schema` has the keys";
                report.add(origin, key, what, hint);
                return None;
            }
        };
    }
    Some(node)
}

/// The keys that say the same in another way: setting one replaces the others.
fn rivals(key: &str) -> &'static [&'static str] {
    let mut names = key.rsplit('.');
    match (key.split('.').next(), names.next(), names.next()) {
        (Some("upstream"), Some("address"), _) => &["addresses"],
        (Some("upstream"), Some("addresses"), _) | (Some("listeners"), Some("unix"), _) => {
            &["address"]
        }
        (Some("listeners"), Some("address"), _) => &["unix"],
        (Some("audit"), Some("file"), _) => &["stdout", "unix"],
        (Some("audit"), Some("stdout"), _) => &["file", "unix"],
        (Some("audit"), Some("unix"), _) => &["file", "stdout"],
        (Some("auth"), Some("file"), Some("jwks")) => &["url"],
        (Some("auth"), Some("url"), Some("jwks")) => &["file"],
        (Some("cache"), Some("key_file"), Some("store")) => &["transit"],
        (Some("cache"), name, section) if [name, section].contains(&Some("transit")) => {
            &["key_file"]
        }
        _ => &[],
    }
}
