//! The text of an HTML page, for a model to read. Not a parser: it never fails, and never shows what
//! a page hides in scripts, styles or comments.

/// Elements whose content is not text.
const HIDDEN: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "iframe", "object",
];
/// Elements that begin a new line.
const LINES: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];
/// Named characters that pages use; the others stay as they are written.
const NAMED: &[(&str, char)] = &[
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("copy", '©'),
    ("reg", '®'),
    ("hellip", '…'),
    ("ndash", '–'),
    ("mdash", '—'),
    ("lsquo", '‘'),
    ("rsquo", '’'),
    ("ldquo", '“'),
    ("rdquo", '”'),
    ("laquo", '«'),
    ("raquo", '»'),
    ("bull", '•'),
    ("middot", '·'),
    ("euro", '€'),
    ("times", '×'),
    ("auml", 'ä'),
    ("ouml", 'ö'),
    ("uuml", 'ü'),
    ("Auml", 'Ä'),
    ("Ouml", 'Ö'),
    ("Uuml", 'Ü'),
    ("szlig", 'ß'),
    ("eacute", 'é'),
];
/// Letters between `&` and `;`.
const MAX_NAMED: usize = 10;

/// A page as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) text: String,
}

/// Reads a page. Takes time in proportion to its length, whatever is in it.
pub(super) fn read(html: &str) -> Page {
    let mut lines = Lines::default();
    let mut title = String::new();
    let mut rest = html;
    while !rest.is_empty() {
        let Some(at) = rest.find('<') else {
            lines.text(rest);
            break;
        };
        lines.text(&rest[..at]);
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = after(comment, "-->");
            continue;
        }
        let Some((tag, behind)) = tag(rest) else {
            // A lonely sign is a text.
            lines.text("<");
            rest = &rest[1..];
            continue;
        };
        rest = behind;
        if tag.closes {
            if LINES.contains(&tag.name.as_str()) {
                lines.end();
            }
            continue;
        }
        if tag.name == "title" && title.is_empty() {
            let (inside, behind) = content(rest, "title");
            title = spaced(&decoded(inside));
            rest = behind;
        } else if HIDDEN.contains(&tag.name.as_str()) {
            rest = content(rest, &tag.name).1;
        } else if LINES.contains(&tag.name.as_str()) {
            lines.end();
            if tag.name == "li" {
                lines.text("- ");
            }
        } else if tag.name == "td" || tag.name == "th" {
            lines.text(" ");
        }
    }
    Page {
        title,
        text: lines.done(),
    }
}

struct Tag {
    name: String,
    closes: bool,
}

/// The tag at the beginning, and what is behind it.
fn tag(text: &str) -> Option<(Tag, &str)> {
    let inside = text.strip_prefix('<')?;
    let closes = inside.starts_with('/');
    let named = inside.trim_start_matches('/');
    let end = named
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != ':')
        .unwrap_or(named.len());
    let name = named[..end].to_ascii_lowercase();
    let declares = inside.starts_with(['!', '?']);
    if !declares && !name.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        return None;
    }
    let mut quote = None;
    for (at, letter) in inside.char_indices() {
        match (quote, letter) {
            (None, '>') => return Some((Tag { name, closes }, &inside[at + 1..])),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    // Never closed: nothing behind it is text.
    Some((Tag { name, closes }, ""))
}

/// What is inside of an element that has just begun, and what is behind its end.
fn content<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut from = 0;
    while let Some(at) = text[from..].find("</") {
        let at = from + at;
        let named = &text.as_bytes()[at + 2..];
        let is_end = named
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
        if is_end {
            return (&text[..at], after(&text[at..], ">"));
        }
        from = at + 2;
    }
    (text, "")
}

fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).map_or("", |at| &text[at + mark.len()..])
}

fn decoded(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match reference(&rest[1..]) {
            Some((letter, length)) => {
                plain.push(letter);
                rest = &rest[1 + length..];
            }
            None => {
                plain.push('&');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// The character that a reference names, and how long it is with its semicolon.
fn reference(text: &str) -> Option<(char, usize)> {
    let end = text
        .bytes()
        .take(MAX_NAMED + 1)
        .position(|byte| byte == b';')?;
    let name = &text[..end];
    let letter = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|letter| !letter.is_control() || *letter == '\n')?
        }
        None => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some((letter, end + 1))
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text with one space between words and one line break between lines.
#[derive(Default)]
struct Lines {
    text: String,
    line: String,
}

impl Lines {
    fn text(&mut self, raw: &str) {
        if !raw.is_empty() {
            self.line.push_str(&decoded(raw));
        }
    }

    fn end(&mut self) {
        let line = spaced(&self.line);
        self.line.clear();
        // An item without a text.
        if line.is_empty() || line == "-" {
            return;
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(&line);
    }

    fn done(mut self) -> String {
        self.end();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn text(html: &str) -> String {
        read(html).text
    }

    #[test]
    fn a_page_becomes_its_title_and_its_lines() {
        let page = read(
            "<!DOCTYPE html><html><head><title>A &amp; B</title><style>p{}</style>\
             <meta name=x></head><body><h1>Head</h1><p>One <b>bold</b>\n word.</p>\
             <ul><li>first<li>second</ul><table><tr><td>a<td>b</table></body>",
        );
        assert_eq!(page.title, "A & B");
        assert_eq!(page.text, "Head\nOne bold word.\n- first\n- second\na b");
    }

    #[test]
    fn what_a_page_hides_is_not_told() {
        for html in [
            "a<script>secret</script>b",
            "a<SCRIPT type='x>y'>secret < </SCRIPT >b",
            "a<!-- secret <p> -->b",
            "a<style>secret</style><noscript>secret</noscript>b",
            "a<svg><text>secret</text></svg>b",
            "ab<script>secret",
            "ab<!-- secret",
            "ab<a href=\"secret",
        ] {
            assert_eq!(text(html), "ab", "{html}");
        }
    }

    #[test]
    fn characters_are_decoded_and_what_is_none_stays() {
        assert_eq!(text("&lt;b&gt; &#228;&#xE4; &euro;"), "<b> ää €");
        assert_eq!(
            text("a & b &nothing; &#0; &#x110000; &amp"),
            "a & b &nothing; &#0; &#x110000; &amp"
        );
        assert_eq!(text("1 < 2 and 3 <4"), "1 < 2 and 3 <4");
        assert_eq!(text("&äöü;ß&"), "&äöü;ß&");
    }

    #[test]
    fn a_page_made_to_be_slow_is_not() {
        let begun = Instant::now();
        for piece in [
            "<", "<a ", "&", "</", "<!--", "<script>", "<p", "&#", "</script", "'\"<a",
        ] {
            read(&piece.repeat((1 << 17) / piece.len()));
        }
        // A scan that starts again for each piece takes many minutes.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}
