//! A plan on a page. Pure.

use crate::{
    cli::{
        out::{Style, printable},
        table::Table,
    },
    daemon::setup::{Choices, Input, SetupPlan, Step},
};

/// Everything that was chosen, would be done, and is left to people.
pub(super) fn page(choices: &Choices, plan: &SetupPlan, style: Style) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "WHY"]);
    for (key, choice) in choices.iter() {
        let value = if choice.text.is_empty() { "off" } else { &choice.text };
        table.row([key.setting().to_owned(), value.to_owned(), choice.why.clone()]);
    }
    let steps: String = plan.steps.iter().map(|step| self::step(step, style)).collect();
    let sections = [
        list("Found here", &plan.found, style),
        table.show(style, ""),
        list(&style.alarm("Somebody wrote something else"), &plan.overrides, style),
        if steps.is_empty() { "All is so already.\n".to_owned() } else { format!("{}\n{steps}", style.bold("Steps")) },
        list("By hand, before", &plan.by_hand, style),
        list("Next", &plan.next, style),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A step while it is done.
pub(super) fn step_line(step: &Step) -> String {
    match step {
        Step::File { path, .. } => format!("writing {}", path.display()),
        Step::Command { words, input } => line(words, *input),
    }
}

fn step(step: &Step, style: Style) -> String {
    match step {
        Step::Command { words, input } => format!("  {}\n", printable(&line(words, *input))),
        Step::File { path, text, keep_as } => {
            let kept = keep_as.as_ref().map(|kept| format!(" (what is there goes to {})", kept.display()));
            let text = text.lines().map(|line| match line {
                "" => "\n".to_owned(),
                line => format!("      {}\n", printable(line)),
            });
            let head = format!("write {}{}:", path.display(), kept.unwrap_or_default());
            format!("  {}\n{}", style.bold(&printable(&head)), text.collect::<String>())
        }
    }
}

/// As it would be typed.
fn line(words: &[String], input: Input) -> String {
    let plain = |word: &String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@,".contains(&byte));
    let words = words.iter().map(|word| if plain(word) { word.clone() } else { format!("'{word}'") });
    let reads = match input {
        Input::None => "",
        Input::Token => "   # reads the token",
        Input::Passphrase => "   # reads the passphrase",
    };
    words.collect::<Vec<_>>().join(" ") + reads
}

fn list(title: &str, lines: &[String], style: Style) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines = lines.iter().map(|line| format!("  * {}\n", printable(line)));
    format!("{}\n{}", style.bold(title), lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_they_are_typed_and_files_with_their_contents() {
        let words = ["install", "-d", "/a b"].map(str::to_owned).to_vec();
        assert_eq!(step_line(&Step::Command { words, input: Input::Token }), "install -d '/a b'   # reads the token");
        let file = Step::File { path: "/x".into(), text: "a\n\nb\n".to_owned(), keep_as: Some("/y".into()) };
        assert_eq!(step(&file, Style::Plain), "  write /x (what is there goes to /y):\n      a\n\n      b\n");
    }
}
