//! Whatever happens on the way, and whoever else writes: what holds of every attempt.

use proptest::prelude::*;

use super::*;

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::Answered),
        Just(Fate::ReplyLost),
        Just(Fate::Lost)
    ]
}

fn any_kind() -> impl Strategy<Value = AliasType> {
    prop_oneof![Just(AliasType::Address), Just(AliasType::Cname)]
}

#[derive(Debug, Clone)]
struct Round {
    ipv4: Option<u8>,
    www: Option<AliasType>,
    wild: Option<AliasType>,
    fates: Vec<Fate>,
    /// The process dies: what it knows is what it last told, and all is in doubt.
    crash: bool,
    /// Somebody deletes the marker of this name.
    unmark: Option<usize>,
}

fn any_round() -> impl Strategy<Value = Round> {
    (
        prop::option::weighted(0.8, 1_u8..5),
        prop::option::of(any_kind()),
        prop::option::of(any_kind()),
        prop::collection::vec(any_fate(), 0..4),
        any::<bool>(),
        prop::option::weighted(0.2, 0_usize..3),
    )
        .prop_map(|(ipv4, www, wild, fates, crash, unmark)| Round {
            ipv4,
            www,
            wild,
            fates,
            crash,
            unmark,
        })
}

proptest! {
    /// Whatever is lost, crashes, or is changed by others: what is foreign stays as it is, and our
    /// names come to say what is desired.
    #[test]
    fn our_names_become_right_and_no_other_name_is_changed(
        rounds in prop::collection::vec(any_round(), 1..8),
        foreign in prop::option::of((0_usize..2, 0_usize..4)),
    ) {
        let names = [name(HOST), name(WWW), name(WILD)];
        let mut server = Server::default();
        let (foreign, kind) = foreign.unzip();
        let stranger = match kind {
            None | Some(0) => Node { mx: true, ipv4: vec![address(99)], ..Node::default() },
            Some(1) => Node { cname: Some("elsewhere.example".to_owned()), ..Node::default() },
            Some(2) => Node { cname: Some(HOST.to_owned()), ..Node::default() },
            _ => Node { ipv4: vec![address(99)], ..Node::default() },
        };
        if let Some(index) = foreign {
            server.nodes.insert(names[1 + index].clone(), stranger.clone());
        }
        let mut nonces = 0;
        let mut attempt = fresh(OwnershipMode::Marker);
        for round in rounds {
            let unmarked = round.unmark.and_then(|index| server.nodes.get_mut(&names[index]));
            if let Some(node) = unmarked {
                node.marker_texts.clear();
            }
            if round.crash || round.unmark.is_some() {
                let (known, marker) = attempt.state();
                attempt = Attempt::new(
                    Fqdn::parse(HOST).unwrap(), ours(OwnershipMode::Marker), known.clone(),
                    marker.cloned(), true,
                );
            }
            let www = round.www.map(|kind| alias(WWW, kind));
            let wild = round.wild.map(|kind| alias(WILD, kind));
            let aliases: Vec<_> = www.into_iter().chain(wild).collect();
            let want = desired(round.ipv4, &aliases);
            run(&mut attempt, &mut server, &want, &mut nonces, &round.fates, false);
            // What is left over is done by the next look.
            let (known, marker) = attempt.state();
            attempt = Attempt::new(
                Fqdn::parse(HOST).unwrap(), ours(OwnershipMode::Marker), known.clone(),
                marker.cloned(), true,
            );
            prop_assert!(run(&mut attempt, &mut server, &want, &mut nonces, &[], false));
            for (index, name) in names.iter().enumerate() {
                let node = server.node(name);
                if foreign.is_some_and(|foreign| index == foreign + 1) {
                    prop_assert_eq!(node, stranger.clone());
                    continue;
                }
                let kind = match index {
                    0 => Some(AliasType::Address),
                    1 => round.www,
                    _ => round.wild,
                };
                let kind = kind.filter(|_| round.ipv4.is_some());
                let ipv4: Vec<_> = round.ipv4.into_iter().map(address).collect();
                prop_assert_eq!(&node.ipv4, &match kind { Some(AliasType::Address) => ipv4, _ => vec![] });
                prop_assert_eq!(node.cname.is_some(), kind == Some(AliasType::Cname));
                prop_assert_eq!(node.marker_texts.len(), usize::from(kind.is_some()), "{}", name);
            }
        }
    }
}
