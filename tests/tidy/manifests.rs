//! The reasons that manifests have for dependencies.

/// Dependencies without a comment on the line above. Those of a workspace are only versions, and
/// need none: who uses them says why.
pub(crate) fn unexplained(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_table = false;
    let mut depth = 0;
    let mut before = "";
    for (line, text) in text.lines().enumerate() {
        let header = text.starts_with('[') && depth == 0;
        let dependency = if header {
            let name = text.trim_matches(['[', ']', ' ']);
            in_table = is_table(name);
            name.rsplit_once('.').filter(|(table, _)| is_table(table)).map(|(_, name)| name)
        } else {
            let (name, _) = text.split_once('=').unwrap_or_default();
            Some(name.trim()).filter(|name| in_table && depth == 0 && is_name(name))
        };
        if let Some(name) = dependency.filter(|_| !before.starts_with("# ")) {
            found.push(format!("{path}:{}: `{name}` has no reason", line + 1));
        }
        if !text.starts_with('#') {
            depth += text.matches(['[', '{']).count();
            depth -= text.matches([']', '}']).count();
        }
        before = text;
    }
    found
}

fn is_table(name: &str) -> bool {
    const TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];
    TABLES.contains(&name)
        || (name.starts_with("target.")
            && TABLES.iter().any(|table| name.ends_with(&format!(".{table}"))))
}

fn is_name(text: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || "-_.\"".contains(c);
    !text.is_empty() && text.chars().all(part)
}
