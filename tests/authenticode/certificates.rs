//! Who may sign: certificates, chains, time.

use super::{
    der::{Node, operated},
    lab::{DAY, Identity, Key, Lab, NOW, Signing, issuer, signer, stamper, time_stamping, trust, verify, verify_with},
};
use rcgen::{BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd};
use wuasync::{
    base::clock::{Clock, SystemClock},
    cabinet::authenticode::{ChainError, Party, Refusal, Roots, Trust},
};

fn of_chain<T: std::fmt::Debug>(verdict: Result<T, Refusal>) -> (Party, ChainError) {
    match verdict.unwrap_err() {
        Refusal::Chain { party, why } => (party, *why),
        other => panic!("{other:?}"),
    }
}

fn purpose<T: std::fmt::Debug>(verdict: Result<T, Refusal>) -> (Party, String, String) {
    match of_chain(verdict) {
        (party, ChainError::Purpose { subject, purpose, .. }) => (party, subject, purpose.to_owned()),
        other => panic!("{other:?}"),
    }
}

fn wrong<T: std::fmt::Debug>(verdict: Result<T, Refusal>) -> String {
    match of_chain(verdict) {
        (_, ChainError::Wrong { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_that_has_expired_counts_if_a_time_stamp_says_that_it_had_not() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let tsa = root.issue(stamper("tsa"), Key::P256);
    let mut expired = signer("expired");
    expired.not_after = date_time_ymd(2026, 5, 1);
    let expired = root.issue(expired, Key::P256);

    let in_time = lab.sign(&Signing::by(&expired).stamped(&tsa, NOW - 60 * DAY));
    assert_eq!(verify(&in_time, &root).unwrap().time_stamp.unwrap().at, NOW - 60 * DAY);
    assert!(lab.second_opinion(&in_time, &root, &root));

    for late in [lab.sign(&Signing::by(&expired)), lab.sign(&Signing::by(&expired).stamped(&tsa, NOW - DAY))] {
        let error = of_chain(verify(&late, &root));
        assert!(matches!(error, (Party::Signer, ChainError::NotValid { .. })), "{error:?}");
        assert!(!lab.second_opinion(&late, &root, &root));
    }
    let unstamped = lab.sign(&Signing::by(&expired));
    let then = verify_with(&unstamped, &trust(&root, &root), NOW - 60 * DAY);
    assert!(then.is_ok(), "{then:?}");
}

#[test]
fn a_certificate_for_signing_in_its_lifetime_alone_expires_whatever_the_time_stamp_says() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let tsa = root.issue(stamper("tsa"), Key::P256);
    let mut expired = signer("expired");
    expired.not_after = date_time_ymd(2026, 5, 1);
    let lifetime_signing = ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 13]);
    expired.extended_key_usages.push(lifetime_signing);
    let expired = root.issue(expired, Key::P256);
    let stamped = lab.sign(&Signing::by(&expired).stamped(&tsa, NOW - 60 * DAY));
    let error = of_chain(verify(&stamped, &root));
    assert!(matches!(error, (Party::Signer, ChainError::NotValid { .. })), "{error:?}");
}

#[test]
fn a_time_stamp_outlives_its_maker_and_is_worth_nothing_before_or_after_its_time_or_from_the_future() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let leaf = root.issue(signer("leaf"), Key::P256);
    let mut short = stamper("tsa");
    (short.not_before, short.not_after) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 5, 1));
    let short = root.issue(short, Key::P256);
    let stamped = |at| verify(&lab.sign(&Signing::by(&leaf).stamped(&short, at)), &root);
    assert!(stamped(NOW - 60 * DAY).is_ok());
    for outside in [NOW - 120 * DAY, NOW - DAY] {
        let error = of_chain(stamped(outside));
        assert!(matches!(error, (Party::TimeStamper, ChainError::NotValid { .. })), "{error:?}");
    }
    let tsa = root.issue(stamper("tsa"), Key::P256);
    let future = lab.sign(&Signing::by(&leaf).stamped(&tsa, NOW + DAY));
    let error = verify(&future, &root).unwrap_err();
    assert!(matches!(error, Refusal::TimeStampInFuture { .. }), "{error:?}");
}

#[test]
fn a_certificate_for_other_things_than_code_signing_is_refused_and_also_one_for_nothing_which_osslsigncode_takes() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    for (purposes, second_opinion) in [
        (vec![ExtendedKeyUsagePurpose::ServerAuth], false),
        (vec![ExtendedKeyUsagePurpose::Any], false),
        (vec![], true),
    ] {
        let mut other = signer("other");
        other.extended_key_usages = purposes;
        let cabinet = lab.sign(&Signing::by(&root.issue(other, Key::P256)));
        let (party, _, what) = purpose(verify(&cabinet, &root));
        assert_eq!((party, &*what), (Party::Signer, "code signing"));
        assert_eq!(lab.second_opinion(&cabinet, &root, &root), second_opinion);
    }
}

#[test]
fn a_key_that_may_not_sign_or_an_issuer_that_signs_by_itself_is_refused() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let mut for_secrets = signer("secrets");
    for_secrets.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let mut for_issuing = signer("issuing");
    for_issuing.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for_issuing.key_usages.push(KeyUsagePurpose::KeyCertSign);
    for wrong in [for_secrets, for_issuing] {
        let cabinet = lab.sign(&Signing::by(&root.issue(wrong, Key::P256)));
        assert_eq!(purpose(verify(&cabinet, &root)).2, "code signing");
    }
}

#[test]
fn a_chain_that_breaks_off_or_leads_elsewhere_lacks_trust_and_says_where() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let other = Identity::root(issuer("other"), Key::P256);
    let same_name = Identity::root(issuer("root"), Key::P256);
    let between = root.issue(issuer("between"), Key::P256);
    let leaf = between.issue(signer("leaf"), Key::P256);
    let whole = lab.sign(&Signing::by(&leaf).with(&between));
    let broken = lab.sign(&Signing::by(&leaf));
    for (cabinet, root, lacking) in [(&broken, &root, "CN=between"), (&whole, &other, "CN=root")] {
        let error = verify(cabinet, root).unwrap_err();
        assert!(error.is_untrusted());
        let text = error.to_string();
        assert!(text.contains(&format!("{lacking} is none")) && text.contains("`wuasync cab trust FILE`"), "{text}");
        assert!(!lab.second_opinion(cabinet, root, root));
    }
    assert!(verify(&whole, &same_name).is_err());
    let error = verify_with(&whole, &Trust::default(), NOW).unwrap_err();
    assert!(error.is_untrusted() && error.to_string().contains("no trust roots"), "{error}");
}

#[test]
fn an_issuer_that_is_pinned_is_as_good_as_its_root_within_its_own_limits() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let between = root.issue(issuer("between"), Key::P256);
    let leaf = between.issue(signer("leaf"), Key::P256);
    let broken = lab.sign(&Signing::by(&leaf));
    let verified = verify(&broken, &between).unwrap();
    assert_eq!(verified.chain.last().unwrap().subject, "CN=between");

    let mut old = issuer("old");
    old.not_after = date_time_ymd(2026, 5, 1);
    let mut short = issuer("short");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let mut servers = issuer("servers");
    servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for limits in [old, short, servers] {
        let pinned = root.issue(limits, Key::P256);
        let between = pinned.issue(issuer("between"), Key::P256);
        let leaf = between.issue(signer("leaf"), Key::P256);
        let (party, error) = of_chain(verify(&lab.sign(&Signing::by(&leaf).with(&between)), &pinned));
        let fits = match &*pinned.params.distinguished_name.iter().map(|(_, v)| format!("{v:?}")).collect::<String>() {
            name if name.contains("old") => matches!(error, ChainError::NotValid { .. }),
            name if name.contains("short") => matches!(error, ChainError::TooLong { .. }),
            _ => matches!(error, ChainError::Purpose { .. }),
        };
        assert!(party == Party::Signer && fits, "{error:?}");
    }
}

#[test]
fn what_is_no_issuer_can_not_be_a_trust_root() {
    let root = Identity::root(issuer("root"), Key::P256);
    let leaf = root.issue(signer("leaf"), Key::P256);
    let mut for_lists = issuer("lists");
    for_lists.key_usages = vec![KeyUsagePurpose::CrlSign];
    for wrong in [leaf.pem, Identity::root(for_lists, Key::P256).pem] {
        let error = Roots::from_pem(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("is not of an issuer"), "{error}");
    }
    for (pem, text) in [
        (String::new(), "holds no certificate"),
        (root.key.serialize_pem(), "holds no certificate"),
        (root.pem.replace("MII", "NII"), "malformed"),
        (root.pem.replace("-----END", "----END"), "no PEM file"),
        (root.pem.repeat(257), "more than 256"),
    ] {
        let error = Roots::from_pem(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn issuers_are_held_to_their_limits() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let with = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut between = issuer("between");
        change(&mut between);
        let between = root.issue(between, Key::P256);
        let below = between.issue(issuer("below"), Key::P256);
        let leaf = below.issue(signer("leaf"), Key::P256);
        verify(&lab.sign(&Signing::by(&leaf).with(&between).with(&below)), &root)
    };
    assert_eq!(with(&|_| {}).unwrap().chain.len(), 4);
    assert!(with(&|between| between.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]).is_ok());
    let no_issuer = with(&|between| between.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    assert_eq!(purpose(no_issuer), (Party::Signer, "CN=between".to_owned(), "issuing certificates".to_owned()));
    let too_long = with(&|between| between.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_eq!(wrong(too_long), "too many issuers follow it");
    let expired = of_chain(with(&|between| between.not_after = date_time_ymd(2026, 5, 1)));
    let ChainError::NotValid { subject, .. } = expired.1 else { panic!("{expired:?}") };
    assert_eq!(subject, "CN=between");
    let leaf = with(&|between| between.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(wrong(leaf), "it is not of an issuer");
    let critical = with(&|between| {
        let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        unknown.set_criticality(true);
        between.custom_extensions.push(unknown);
    });
    assert_eq!(wrong(critical), "it has a critical extension that is not understood");
    assert!(
        with(&|between| {
            between.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
        })
        .is_ok()
    );
}

#[test]
fn an_issuer_for_servers_alone_issues_no_signers_which_osslsigncode_takes() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let mut servers = issuer("servers");
    servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let servers = root.issue(servers, Key::P256);
    let cabinet = lab.sign(&Signing::by(&servers.issue(signer("leaf"), Key::P256)).with(&servers));
    assert_eq!(wrong(verify(&cabinet, &root)), "its extended key usage does not allow that");
    assert!(lab.second_opinion(&cabinet, &root, &root));
}

#[test]
fn a_signer_with_a_critical_extension_that_nobody_knows_is_refused() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.set_criticality(true);
    let mut critical = signer("critical");
    critical.custom_extensions.push(unknown);
    let cabinet = lab.sign(&Signing::by(&root.issue(critical, Key::P256)));
    assert_eq!(wrong(verify(&cabinet, &root)), "it has a critical extension that is not understood");
    assert!(!lab.second_opinion(&cabinet, &root, &root));
}

#[test]
fn a_time_stamper_has_to_be_one_and_nothing_else_and_to_be_trusted_as_one() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let stamp_root = Identity::root(issuer("stamp root"), Key::P256);
    let leaf = root.issue(signer("leaf"), Key::P256);
    let stamped = |by: &Identity| lab.sign(&Signing::by(&leaf).stamped(by, NOW - DAY));

    let good = stamped(&stamp_root.issue(stamper("tsa"), Key::P256));
    let verified = verify_with(&good, &trust(&root, &stamp_root), NOW).unwrap();
    assert_eq!(verified.time_stamp.unwrap().chain.last().unwrap().subject, "CN=stamp root");
    for trust in [trust(&root, &root), Trust { time_stamping: Roots::default(), ..trust(&root, &root) }] {
        let error = verify_with(&good, &trust, NOW).unwrap_err();
        assert!(error.is_untrusted() && error.to_string().contains("time stamp"), "{error}");
    }

    let mut not_critical = stamper("not critical");
    not_critical.custom_extensions = vec![time_stamping(false)];
    let mut more = stamper("more");
    let both = b"\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x03";
    let mut both = CustomExtension::from_oid_content(&[2, 5, 29, 37], both.to_vec());
    both.set_criticality(true);
    more.custom_extensions = vec![both];
    let mut for_secrets = stamper("secrets");
    for_secrets.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let stamped_anew = |by: rcgen::CertificateParams, key| {
        let cabinet = restamped(&lab, &good, &stamp_root.issue(by, key), "-cades");
        verify_with(&cabinet, &trust(&root, &stamp_root), NOW)
    };
    for wrong in [not_critical, more, for_secrets, signer("signer")] {
        let (party, _, what) = purpose(stamped_anew(wrong, Key::P256));
        assert_eq!((party, &*what), (Party::TimeStamper, "time stamping"));
    }
    for key in [Key::Rsa, Key::P384] {
        assert!(stamped_anew(stamper("good"), key).is_ok(), "a stamp that openssl made");
    }
}

#[test]
fn a_time_stamp_is_bound_to_the_certificate_that_made_it() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::P256);
    let leaf = root.issue(signer("leaf"), Key::P256);
    let mut params = stamper("tsa");
    params.serial_number = Some(7u64.into());
    let tsa = root.issue(params.clone(), Key::P256);
    let cabinet = lab.sign(&Signing::by(&leaf).stamped(&tsa, NOW - DAY));
    // The same key, name and number, and valid for longer.
    params.not_after = date_time_ymd(2099, 1, 1);
    let longer = params.signed_by(&tsa.key, &rcgen::Issuer::from_params(&root.params, &root.key)).unwrap();
    let changed = operated(&cabinet, |signature| {
        let token = signature.unsigned_attributes().at(&[0, 1, 0]);
        token.signed_data().at(&[3]).inner = vec![Node::read(longer.der())];
    });
    assert_eq!(verify(&changed, &root).unwrap_err(), Refusal::TimeStampUnbound);
    let unbound = restamped(&lab, &cabinet, &tsa, "-nosmimecap");
    assert_eq!(verify(&unbound, &root).unwrap_err(), Refusal::TimeStampUnbound);
}

/// The cabinet with the same time stamp, signed by another with openssl.
fn restamped(lab: &Lab, cabinet: &[u8], by: &Identity, option: &str) -> Vec<u8> {
    operated(cabinet, |signature| {
        let token = signature.unsigned_attributes().at(&[0, 1, 0]);
        lab.write("info", &token.signed_data().at(&[2, 1, 0]).bytes);
        lab.write("by.pem", &by.pem);
        lab.write("by.key", by.key.serialize_pem());
        lab.openssl(&format!(
            "cms -sign -binary -nodetach -nosmimecap -econtent_type 1.2.840.113549.1.9.16.1.4 -md sha256 -in info \
             -signer by.pem -inkey by.key -outform DER -out token {option}"
        ));
        *token = Node::read(&lab.read("token"));
    })
}

#[test]
fn sha1_in_a_signature_or_beneath_a_certificate_and_short_keys_are_refused_which_osslsigncode_takes() {
    let lab = Lab::new();
    // openssl's x509 begins validity at once, whenever that is.
    let mut always = issuer("root");
    (always.not_before, always.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2120, 1, 1));
    let root = Identity::root(always, Key::Rsa);
    let leaf = root.issue(signer("leaf"), Key::Rsa);
    let sha1 = lab.sign(&Signing::by(&leaf).hash("sha1"));
    let error = verify(&sha1, &root).unwrap_err();
    assert!(matches!(error, Refusal::WeakDigest { .. }), "{error:?}");
    assert!(lab.second_opinion(&sha1, &root, &root));

    lab.write("root.pem", &root.pem);
    lab.write("root.key", root.key.serialize_pem());
    lab.write("ext", "keyUsage=digitalSignature\nextendedKeyUsage=codeSigning\n");
    let sign = |bits: u16, digest: &str| {
        lab.openssl(&format!("req -new -newkey rsa:{bits} -nodes -keyout leaf.key -subj /CN=leaf -out leaf.csr"));
        lab.openssl(&format!(
            "x509 -req -in leaf.csr -CA root.pem -CAkey root.key -set_serial 7 -days 3650 -extfile ext -{digest} -out leaf.pem"
        ));
        lab.sign_with_files("leaf.pem", "leaf.key")
    };
    let weak = sign(2048, "sha1");
    let verify = |cabinet: &[u8]| verify_with(cabinet, &trust(&root, &root), SystemClock.unix_seconds());
    let error = wrong(verify(&weak));
    assert!(error.contains("sha1"), "{error}");
    let short = verify(&sign(1024, "sha256")).unwrap_err();
    assert_eq!(short, Refusal::KeyLength { party: Party::Signer, bits: 1024 });
    let good = verify(&sign(2048, "sha256"));
    assert!(good.is_ok(), "{good:?}");
}
