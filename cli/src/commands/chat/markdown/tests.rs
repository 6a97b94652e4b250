use super::*;

/// Rendered, with the codes as `{…}`.
fn shown(text: &str) -> String {
    let mut markdown = Markdown::default();
    let out = markdown.push(text) + &markdown.finish();
    readable(&out)
}

fn readable(out: &str) -> String {
    out.replace("\u{1b}[0m", "{}").replace("\u{1b}[", "{")
}

/// Only what a reader sees.
fn visible(out: &str) -> String {
    let mut text = String::new();
    let mut rest = out;
    while let Some(at) = rest.find("\u{1b}[") {
        text += &rest[..at];
        let code = &rest[at..];
        rest = &code[code.find('m').unwrap() + 1..];
    }
    text + rest
}

#[test]
fn blocks_are_rendered() {
    for (given, wanted) in [
        ("# Title\ntext\n", "{1;4mTitle{}\ntext\n"),
        ("## Two **b**\n", "{1mTwo {}{1mb{}\n"),
        ("- one\n  * two\n+ three\n", "• one\n  • two\n• three\n"),
        (
            "1. one\n2) two\n3.5 is a number\n",
            "1. one\n2) two\n3.5 is a number\n",
        ),
        ("> quoted\n> - item\n", "{2m│ {}quoted\n{2m│ {}• item\n"),
        ("a\n\n---\nb\n", "a\n\n{2m────────────────────────{}\nb\n"),
        (
            "```rust\nlet a = 1; // *no*\n\n```\nafter\n",
            "{2m```rust{}\n{36mlet a = 1; // *no*{}\n\n{2m```{}\nafter\n",
        ),
        ("~~~\n```\n~~~\n", "{2m~~~{}\n{36m```{}\n{2m~~~{}\n"),
        ("    indented *code*\n", "{36m    indented *code*{}\n"),
        (
            "- item\n\n    still *it*\n",
            "• item\n\n    still {3mit{}\n",
        ),
        ("#hash and #5\n", "#hash and #5\n"),
        ("**bold** start\n*it*\n", "{1mbold{} start\n{3mit{}\n"),
        ("no end", "no end"),
        ("open **bold", "open **bold"),
        ("-\n*\n", "-\n*\n"),
    ] {
        assert_eq!(shown(given), wanted, "{given:?}");
    }
}

#[test]
fn a_table_is_shown_in_columns_when_it_ends() {
    let table = "| name | size |\n|:-----|---:|\n| `a` | 1 |\n| 名前 | 22 |\nafter\n";
    assert_eq!(
        shown(table),
        "{1mname{}  {1msize{}\n{2m──────────{}\n{36ma{}     1\n名前  22\nafter\n"
    );
    assert_eq!(shown("| not a table\n"), "| not a table\n");
    assert_eq!(shown("| a |\n|---|"), "{1ma{}\n{2m─{}\n");
}

#[test]
fn it_comes_out_the_same_however_it_is_cut() {
    let text = "# T *i*\n\nSome **bold `c*d` text** and [a](b) 5*3 \\* x_y_z.\n- l\n  1. m\n\n```sh\nls | wc\n`` x\n```\n> q\n| a | b |\n|---|---|\n| 1 | 2 |\n\nend **open";
    let mut whole = Markdown::default();
    let wanted = whole.push(text) + &whole.finish();
    for size in [1, 2, 3, 7] {
        let mut markdown = Markdown::default();
        let characters: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for piece in characters.chunks(size) {
            out += &markdown.push(&piece.iter().collect::<String>());
        }
        out += &markdown.finish();
        assert_eq!(visible(&out), visible(&wanted), "pieces of {size}");
    }
}

#[test]
fn nothing_that_was_held_back_is_lost() {
    for text in [
        "**", "`x", "[a](", "# ", "1.", "- ", "|", "| a", "```", "\\", "!",
    ] {
        let mut markdown = Markdown::default();
        let out = markdown.push(text) + &markdown.finish();
        assert_eq!(visible(&out).trim_end(), text.trim_end());
    }
    let long = format!("*{}", "x".repeat(3 * MAX_HELD));
    assert_eq!(shown(&long), long);
}
