//! The commands of the README's five minutes.

/// Which machine a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Main,
    Secondary,
}

/// The commands of the chapter, in their order.
pub fn five_minutes() -> Vec<(On, String)> {
    let text = include_str!("../../README.md");
    let (_, chapter) =
        text.split_once("## A real installation in five minutes\n").expect("the README has that chapter");
    let chapter = chapter.split("\n#").next().unwrap();
    let mut on = None;
    let mut commands = Vec::new();
    for line in chapter.lines() {
        if line.starts_with("**On the main") {
            on = Some(On::Main);
        } else if line.starts_with("**On the secondary") {
            on = Some(On::Secondary);
        } else if let (Some(on), Some(command)) = (on, line.strip_prefix("    ")) {
            // What follows is for people.
            let command = command.split("   #").next().unwrap().trim();
            commands.push((on, command.to_owned()));
        }
    }
    commands
}
