//! Text from others, made fit for a terminal: nothing in it moves the cursor, changes the title, reaches
//! the clipboard or reorders what is shown.
//!
//! Escape sequences and control characters are taken out, also when they come in pieces; characters that
//! only change how others look are shown as their code. What is left means the same on every terminal.

/// Most of a sequence that is looked at. One that goes on longer never was one: what follows is shown.
const MAX_SEQUENCE: usize = 4 * 1024;

/// Cleans one text after another as parts of one stream.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    state: State,
    length: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte: one final byte follows.
    Intermediate,
    /// Parameters up to a final byte.
    Control,
    /// OSC, DCS, SOS, PM, APC: up to BEL or ST.
    String,
    /// ESC inside of a string.
    StringEscape,
}

/// A whole text without what a terminal would act on.
pub(crate) fn clean(text: &str) -> String {
    Cleaner::default().push(text)
}

/// The same on one line.
pub(crate) fn clean_line(text: &str) -> String {
    clean(text).replace(['\n', '\t'], " ")
}

/// A JSON document for a terminal or a program: what [`clean`] would take out is written as `\u….`
pub(crate) fn escape_json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        if c.is_ascii() && c != '\u{7f}' || !(c.is_control() || is_deceptive(c)) {
            escaped.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

impl Cleaner {
    /// What can be shown of the next piece.
    pub(crate) fn push(&mut self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            self.take(c, &mut shown);
        }
        shown
    }

    fn take(&mut self, c: char, shown: &mut String) {
        if self.state != State::Text {
            self.length += c.len_utf8();
            if self.length > MAX_SEQUENCE {
                self.state = State::Text;
            }
        }
        self.state = match (self.state, c) {
            // A line ends every sequence, so that an unfinished one hides no more than its line.
            (_, '\n') => {
                shown.push('\n');
                State::Text
            }
            (State::String, '\u{1b}') => State::StringEscape,
            (_, '\u{1b}') => self.begin(State::Escape),
            (_, '\u{9b}') => self.begin(State::Control),
            (State::String, '\u{7}' | '\u{9c}') | (State::StringEscape, '\\') => State::Text,
            (_, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => self.begin(State::String),
            (State::String, _) => State::String,
            (State::Escape | State::StringEscape, '[') => State::Control,
            (State::Escape | State::StringEscape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Escape | State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Escape | State::Intermediate | State::StringEscape, '0'..='~') => State::Text,
            (State::Control, ' '..='?') => State::Control,
            (State::Control, '@'..='~') => State::Text,
            // Not a sequence after all.
            (_, c) => {
                show(c, shown);
                State::Text
            }
        };
    }

    fn begin(&mut self, state: State) -> State {
        self.length = 0;
        state
    }
}

fn show(c: char, shown: &mut String) {
    if c == '\t' {
        shown.push(c);
    } else if is_deceptive(c) {
        shown.push_str(&format!("<U+{:04X}>", u32::from(c)));
    } else if !c.is_control() {
        shown.push(c);
    }
}

/// Characters without a form of their own that change the order or the meaning of what is around them.
/// Joiners are not among them: scripts and emoji are written with them.
fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{061c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_taken_out() {
        for (given, wanted) in [
            (
                "plain ünïcode 名前 👩‍💻\ttab\n",
                "plain ünïcode 名前 👩‍💻\ttab\n",
            ),
            // The clipboard (OSC 52), a title, a link.
            ("a\u{1b}]52;c;cm0gLXJm\u{7}b", "ab"),
            ("a\u{1b}]0;title\u{1b}\\b", "ab"),
            ("\u{1b}]8;;http://e/\u{1b}\\text\u{1b}]8;;\u{1b}\\", "text"),
            // Cursor moves, erasure, colours, the alternate screen, a reset, character sets.
            ("a\u{1b}[2J\u{1b}[1;1Hb\u{1b}[31mc\u{1b}[?1049hd", "abcd"),
            ("a\u{1b}cb\u{1b}(0c\u{1b}#8d", "abcd"),
            // The same with C1 controls.
            (
                "a\u{9b}2Jb\u{9d}52;c;x\u{9c}c\u{90}q\u{9c}d\u{85}e",
                "abcde",
            ),
            // Device control strings and the like.
            (
                "a\u{1b}Pq#0\u{1b}\\b\u{1b}_app\u{1b}\\c\u{1b}^pm\u{7}d\u{1b}Xsos\u{1b}\\e",
                "abcde",
            ),
            // Single controls; a carriage return would write over the line.
            ("safe\rrm -rf\u{8}\u{8}\u{7}\u{0}\u{7f}", "saferm -rf"),
            ("a\r\nb", "a\nb"),
            // Nothing after an unfinished sequence is lost but its line.
            ("a\u{1b}]0;never ends\nb", "a\nb"),
            ("a\u{1b}[12\nb", "a\nb"),
            ("a\u{1b}名", "a名"),
        ] {
            assert_eq!(clean(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn what_would_reorder_or_hide_text_is_shown_as_its_code() {
        assert_eq!(
            clean("a\u{202e}gpj.exe\u{202c}"),
            "a<U+202E>gpj.exe<U+202C>"
        );
        assert_eq!(
            clean("\u{2066}x\u{2069}\u{200b}\u{e0041}"),
            "<U+2066>x<U+2069><U+200B><U+E0041>"
        );
    }

    #[test]
    fn a_sequence_in_pieces_is_still_taken_out() {
        let text = "a\u{1b}]52;c;secret\u{1b}\\b\u{1b}[31;1mc\u{9b}5nd";
        for cut in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            let mut cleaner = Cleaner::default();
            let shown = cleaner.push(&text[..cut]) + &cleaner.push(&text[cut..]);
            assert_eq!(shown, "abcd", "cut at {cut}");
        }
    }

    #[test]
    fn a_string_without_an_end_does_not_swallow_the_rest() {
        let text = format!("\u{1b}]{}", "x".repeat(2 * MAX_SEQUENCE));
        assert!(clean(&text).len() >= MAX_SEQUENCE);
    }

    #[test]
    fn json_stays_the_same_document() {
        let document =
            serde_json::json!({"t": "a\u{9b}31m\u{202e}\u{7f}\u{e0041}\u{1b}é"}).to_string();
        let escaped = escape_json(&document);
        assert!(escaped.chars().all(|c| !c.is_control() && !is_deceptive(c)));
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read.to_string(), document);
    }
}
