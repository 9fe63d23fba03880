//! The machine: daemon, kernel, clock, rights, mounts, disk. Pure.

use super::{
    finding::Finding,
    gather::{DaemonFacts, Facts, FolderFacts, Room, Spot, User},
};
use crate::{base::units, daemon::config::Config};
use std::path::Path;

/// The first with `openat2`'s RESOLVE_BENEATH and all else that is used (openat2(2)).
const KERNEL: (u32, u32) = (5, 6);
/// Each directory takes one watch; the kernel's least default is 8192 (inotify(7)).
const FEW_WATCHES: u64 = 8_192;
/// A clock that differs by less is of no consequence.
const CLOCK_TOLERANCE_SECONDS: u64 = 300;
/// Before it nobody had this program: 2024-01-01.
const EARLIEST_SECONDS: u64 = 1_704_067_200;
/// Fewer are soon used up.
const FEW_INODES: u64 = 10_000;
/// Rows and keys need some room on the state's disk.
const STATE_ROOM_BYTES: u64 = 200 << 20;

/// Permission bits.
const READ: u32 = 4;
const WRITE: u32 = 2;
const ENTER: u32 = 1;

/// Whether the daemon answers, and what it says of itself.
pub(super) fn daemon(_config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "daemon";
    match &facts.daemon {
        DaemonFacts::Silent(why) => {
            let cure =
                "start it with `systemctl start wuasync`, and look at `journalctl -u wuasync` if it does not stay";
            vec![Finding::wrong(CHECK, why, cure)]
        }
        DaemonFacts::Denied(why) => vec![Finding::note(CHECK, why, "run this as root, to hear what it says of itself")],
        DaemonFacts::Running(status) => {
            let alarms = status.attention.iter().map(|alarm| Finding::wrong(CHECK, &alarm.what, &alarm.cure));
            let runs =
                Finding::right(CHECK, format!("{} {} runs, version {}", status.role, status.name, status.version));
            std::iter::once(runs).chain(alarms).collect()
        }
    }
}

/// Whether the kernel has what is needed.
pub(super) fn kernel(_config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "kernel";
    let mut numbers = facts.kernel.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let found = match version {
        Some(version) if version >= KERNEL => Finding::right(CHECK, format!("Linux {}", facts.kernel)),
        Some(_) => Finding::wrong(
            CHECK,
            format!("Linux {} is older than {}.{}", facts.kernel, KERNEL.0, KERNEL.1),
            "upgrade the system: older kernels can't open files safely beneath a folder",
        ),
        None => Finding::note(CHECK, format!("Linux {:?} is of no known form", facts.kernel), "compare it with 5.6"),
    };
    let watches = facts.max_watches.filter(|watches| *watches < FEW_WATCHES).map(|watches| {
        Finding::note(
            CHECK,
            format!("only {watches} directories may be watched by a user"),
            "where folders have more: `sysctl -w fs.inotify.max_user_watches=65536`, and the same in /etc/sysctl.d",
        )
    });
    std::iter::once(found).chain(watches).collect()
}

/// Whether the clock can be believed.
pub(super) fn clock(_config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "clock";
    const CURE: &str = "set it and keep it right: `timedatectl set-ntp true`; tokens and time windows go by it";
    let signed_at = facts.daemon.status().and_then(|status| status.state.signed_at);
    if facts.now < EARLIEST_SECONDS {
        return vec![Finding::wrong(CHECK, "the clock stands before 2024", CURE)];
    }
    if let Some(ahead) = signed_at.and_then(|at| at.checked_sub(facts.now)).filter(|it| *it > CLOCK_TOLERANCE_SECONDS) {
        let ahead = units::duration(std::time::Duration::from_secs(ahead));
        return vec![Finding::wrong(
            CHECK,
            format!("it is {ahead} behind the main's clock, or the main's is ahead"),
            CURE,
        )];
    }
    match facts.is_synchronized {
        Some(true) => vec![Finding::right(CHECK, "kept right over the network")],
        Some(false) => vec![Finding::note(CHECK, "it is not kept right over the network", CURE)],
        None => vec![Finding::note(CHECK, "nobody tells whether it is kept right", "see that an NTP client runs")],
    }
}

/// Whether the daemon's user may read and write what it must, and nobody reads its keys.
pub(super) fn rights(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "rights";
    let user = &facts.user;
    let mut found = Vec::new();
    match &facts.state {
        None => {
            let path = config.state_dir.display();
            let cure = format!("`wuasync setup`, or as root `install -d -o {} -m 700 {path}`", user.name);
            found.push(Finding::note(CHECK, format!("{path} is not there yet"), cure));
        }
        Some(state) if state.uid == 0 => {
            let path = state.path.display();
            let cure =
                format!("give it to the daemon's user: `chown -R wapt {path}`, or wuasync where there is no WAPT");
            found.push(Finding::wrong(CHECK, format!("{path} belongs to root, who must not run the daemon"), cure));
        }
        Some(state) if state.mode & 0o077 != 0 => {
            let path = state.path.display();
            let what = format!("{path} can be entered by others (mode {:o})", state.mode);
            found.push(Finding::wrong(CHECK, what, format!("`chmod 700 {path}`")));
        }
        Some(_) => {}
    }
    for key in facts.keys.iter().filter(|key| key.mode & 0o077 != 0) {
        let path = key.path.display();
        found.push(Finding::wrong(CHECK, format!("{path} can be read by others"), format!("`chmod 600 {path}`")));
    }
    for folder in &facts.folders {
        let unusable = folder.spot.iter().filter(|spot| !permits(user, spot, READ | WRITE | ENTER));
        let unusable = unusable.chain(folder.staging.iter().filter(|spot| !permits(user, spot, WRITE | ENTER)));
        found.extend(unusable.map(|spot| unusable_directory(user, spot, folder)));
    }
    if found.is_empty() {
        found.push(Finding::right(CHECK, format!("{} may read and write what it must", user.name)));
    }
    found
}

fn unusable_directory(user: &User, spot: &Spot, folder: &FolderFacts) -> Finding {
    let is_folder = folder.spot.as_ref() == Some(spot);
    let (path, staging, name) = (spot.path.display(), folder.staging_path.display(), &user.name);
    let cure = match is_folder {
        true => format!("`chown -R {name}:www-data {path}` and `chmod 750 {path}`"),
        false => format!("as root `install -d -o {name} -g www-data -m 750 {staging}`"),
    };
    Finding::wrong("rights", format!("{path} is not readable and writable by {name} (mode {:o})", spot.mode), cure)
}

/// Whether `user` has all of `bits`, as the kernel decides without access lists.
fn permits(user: &User, spot: &Spot, bits: u32) -> bool {
    let class = if user.uid == spot.uid {
        spot.mode >> 6
    } else if user.gids.contains(&spot.gid) {
        spot.mode >> 3
    } else {
        spot.mode
    };
    user.uid == 0 || class & bits == bits
}

/// Whether folders are there, with their staging on the same mount.
pub(super) fn mounts(_config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "mounts";
    let found = facts.folders.iter().map(|folder| {
        let path = folder.path.display();
        let Some(spot) = &folder.spot else {
            let what = format!("{path} of folder {} is not there", folder.name);
            return Finding::wrong(CHECK, what, "mount its disk, make it, or correct `path`");
        };
        if !spot.is_directory {
            return Finding::wrong(CHECK, format!("{path} is no directory"), "move it away, or correct `path`");
        }
        if folder.room.is_some_and(|room| room.is_read_only) {
            let cure = format!("look at `dmesg` for errors of the disk, then `mount -o remount,rw` what holds {path}");
            return Finding::wrong(CHECK, format!("{path} is mounted read-only"), cure);
        }
        match &folder.staging {
            Some(staging) if staging.device != spot.device => {
                let what = format!("{} is on another mount than {path}", folder.staging_path.display());
                Finding::wrong(CHECK, what, "set `staging` of the folder to a directory on its own mount")
            }
            _ => Finding::right(CHECK, format!("{path} is there, and is staged on its own mount")),
        }
    });
    found.collect()
}

/// Whether there is room for what is to come.
pub(super) fn disk(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "disk";
    let reserve = config.limits.disk_reserve;
    let mut found: Vec<Finding> = Vec::new();
    for folder in &facts.folders {
        let Some(room) = folder.room else { continue };
        let reports = facts.daemon.status().into_iter().flat_map(|status| &status.folders);
        let coming =
            reports.filter(|report| report.name.as_str() == folder.name).map(|report| report.missing_bytes).sum();
        found.push(room_for(&folder.path, room, reserve, coming));
        found.extend(inodes(&folder.path, room));
    }
    if let Some(room) = facts.state_room {
        if room.available_bytes < STATE_ROOM_BYTES {
            let what = format!("{} are free for {}", units::bytes(room.available_bytes), config.state_dir.display());
            found.push(Finding::wrong(CHECK, what, "make room there: without it nothing can be recorded"));
        }
        found.extend(inodes(&config.state_dir, room));
    }
    found
}

fn room_for(path: &Path, room: Room, reserve: u64, coming: u64) -> Finding {
    const CHECK: &str = "disk";
    let (path, free) = (path.display(), units::bytes(room.available_bytes));
    let usable = room.available_bytes.saturating_sub(reserve);
    if room.available_bytes <= reserve {
        let what = format!("{free} are free for {path}, and limits.disk_reserve keeps {} free", units::bytes(reserve));
        let cure =
            "make room, enlarge the disk, or lower limits.disk_reserve; files are served meanwhile, and none comes";
        return Finding::wrong(CHECK, what, cure);
    }
    if coming > usable {
        let what =
            format!("{} are to come to {path}, and there is room for {}", units::bytes(coming), units::bytes(usable));
        return Finding::wrong(CHECK, what, "enlarge the disk, or keep less: [mirror] mode = \"on-miss\"");
    }
    Finding::right(CHECK, format!("{free} are free for {path}"))
}

fn inodes(path: &Path, room: Room) -> Option<Finding> {
    let free = room.free_inodes.filter(|free| *free < FEW_INODES)?;
    let what = format!("only {free} more files fit on the file system of {}", path.display());
    Some(Finding::wrong("disk", what, "remove small files there, or make the file system anew with more inodes"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{finding::Level, testing::*},
        *,
    };

    #[test]
    fn a_sound_machine_has_nothing_wrong() {
        let (config, facts) = (config(), facts());
        for check in [daemon, kernel, clock, rights, mounts, disk] {
            let found = check(&config, &facts);
            assert!(!found.is_empty() && found.iter().all(|it| it.level == Level::Right), "{found:?}");
        }
    }

    #[test]
    fn what_the_daemon_is_alarmed_by_is_told_and_so_is_its_silence() {
        let mut facts = facts();
        status_of(&mut facts).attention.push(alarm("the disk is full", "make room"));
        let found = daemon(&config(), &facts);
        assert_eq!((found[1].level, found[1].cure.as_deref()), (Level::Wrong, Some("make room")));
        facts.daemon = DaemonFacts::Silent("no daemon answers".to_owned());
        assert_eq!(wrong(&daemon(&config(), &facts)), ["no daemon answers"]);
        facts.daemon = DaemonFacts::Denied("not for you".to_owned());
        assert_eq!(daemon(&config(), &facts)[0].level, Level::Note);
    }

    #[test]
    fn kernels_are_compared_by_their_numbers() {
        for (text, level) in [
            ("5.6.0", Level::Right),
            ("6.1.0-13-amd64", Level::Right),
            ("10.0", Level::Right),
            ("5.4.0-42", Level::Wrong),
            ("4.18.0-553.el8", Level::Wrong),
            ("odd", Level::Note),
        ] {
            let facts = Facts { kernel: text.to_owned(), ..facts() };
            assert_eq!(kernel(&config(), &facts)[0].level, level, "{text}");
        }
        let few = Facts { max_watches: Some(100), ..facts() };
        assert_eq!(kernel(&config(), &few)[1].level, Level::Note);
    }

    #[test]
    fn a_clock_behind_the_main_or_before_its_time_is_wrong() {
        let mut facts = facts();
        status_of(&mut facts).state.signed_at = Some(NOW + CLOCK_TOLERANCE_SECONDS);
        assert_eq!(clock(&config(), &facts)[0].level, Level::Right);
        status_of(&mut facts).state.signed_at = Some(NOW + 7_200);
        assert!(wrong(&clock(&config(), &facts))[0].contains("2 h 0 min behind"));
        assert_eq!(clock(&config(), &Facts { now: 1_000, ..facts.clone() })[0].level, Level::Wrong);
        status_of(&mut facts).state.signed_at = None;
        facts.is_synchronized = Some(false);
        assert_eq!(clock(&config(), &facts)[0].level, Level::Note);
    }

    #[test]
    fn rights_are_judged_for_the_daemons_user() {
        let mut facts = facts();
        facts.folders[0].spot.as_mut().unwrap().uid = 0;
        assert!(wrong(&rights(&config(), &facts))[0].contains("/var/www/waptwua is not readable and writable by wapt"));
        facts.folders[0].spot.as_mut().unwrap().mode = 0o770;
        assert_eq!(rights(&config(), &facts)[0].level, Level::Right, "its group may");
        facts.folders[0].staging.as_mut().unwrap().uid = 0;
        let found = rights(&config(), &facts);
        assert!(
            found[0].cure.as_ref().unwrap().contains("install -d -o wapt -g www-data -m 750 /var/www/.wuasync"),
            "{found:?}"
        );
        facts.keys[0].mode = 0o640;
        assert_eq!(wrong(&rights(&config(), &facts)).len(), 2);
        facts.state.as_mut().unwrap().mode = 0o755;
        assert!(wrong(&rights(&config(), &facts))[0].contains("can be entered by others (mode 755)"));
        facts.state.as_mut().unwrap().uid = 0;
        assert!(wrong(&rights(&config(), &facts))[0].contains("belongs to root"));
        facts.state = None;
        assert_eq!(rights(&config(), &facts)[0].level, Level::Note);
    }

    #[test]
    fn a_missing_foreign_or_read_only_mount_is_named() {
        let mut facts = facts();
        facts.folders[0].staging.as_mut().unwrap().device = 9;
        assert!(wrong(&mounts(&config(), &facts))[0].contains("on another mount"));
        facts.folders[0].room.as_mut().unwrap().is_read_only = true;
        assert!(wrong(&mounts(&config(), &facts))[0].contains("read-only"));
        facts.folders[0].spot.as_mut().unwrap().is_directory = false;
        assert!(wrong(&mounts(&config(), &facts))[0].contains("is no directory"));
        facts.folders[0].spot = None;
        assert!(wrong(&mounts(&config(), &facts))[0].contains("is not there"));
    }

    #[test]
    fn room_is_needed_for_the_reserve_and_for_what_is_to_come() {
        let mut facts = facts();
        status_of(&mut facts).folders[0].missing_bytes = 96 << 30;
        assert!(wrong(&disk(&config(), &facts))[0].starts_with("96.0 GiB are to come"));
        facts.folders[0].room.as_mut().unwrap().available_bytes = 5 << 30;
        assert!(wrong(&disk(&config(), &facts))[0].contains("limits.disk_reserve keeps 5.0 GiB"));
        facts.folders[0].room.as_mut().unwrap().free_inodes = Some(3);
        assert!(wrong(&disk(&config(), &facts))[1].contains("only 3 more files"));
        facts.state_room.as_mut().unwrap().available_bytes = 1;
        assert!(wrong(&disk(&config(), &facts))[2].contains("1 B are free for /var/lib/wuasync"));
    }
}
