use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ *b as u64).wrapping_mul(0x0100_0000_01b3))
}

/// Length, FNV-1a of the bytes and count after PFADD of e0, e1, ... to Valkey 9.1.2.
#[test]
fn bytes_and_counts_are_those_of_valkey() {
    let mut value = create();
    let mut added = 0;
    for (elements, len, hash, estimate, hash_after_count) in [
        (1, 21, 0xfffb_6fae_ff77_f7cd, 1, 0x546d_16fd_fd2c_805a),
        (2, 24, 0x4f94_c027_5f89_7b7d, 2, 0x0487_4152_37f9_9c33),
        (10, 48, 0x4afc_b65d_27f7_d346, 10, 0xd06c_25fb_eaa2_3420),
        (100, 285, 0xb8de_76da_b4a4_065e, 100, 0x40de_c5e3_b151_3cfa),
        (500, 1068, 0xae68_01a0_53be_0586, 506, 0x4785_b546_f1b4_a8cb),
        (1000, 1906, 0x5935_de02_3280_6824, 1008, 0x4ded_8ea0_046b_668d),
        (1200, 2235, 0x9f95_bd64_57cd_0996, 1207, 0xf612_5b77_aa75_fb0b),
        (5000, 12304, 0x8052_4675_3a1c_dada, 4968, 0x9219_c5a2_921d_b657),
        (100_000, 12304, 0xafbf_1713_dc5b_a3c8, 100_853, 0xfd1f_c236_9477_3e63),
    ] {
        // The cache as a fresh key has it, not as the count of the step before left it.
        value[8..16].fill(0);
        for i in added..elements {
            add(&mut value, format!("e{i}").as_bytes(), 3000).expect("a sound value");
        }
        added = elements;
        value[8..15].fill(0);
        assert_eq!((value.len(), fnv(&value)), (len, hash), "{elements} elements");
        assert_eq!(count(&mut value), Ok((estimate, true)));
        assert_eq!(fnv(&value), hash_after_count, "{elements} elements, counted");
        assert_eq!(count(&mut value), Ok((estimate, false)));
    }
}

#[test]
fn opcodes_are_described() {
    let mut value = create();
    for element in ["x", "y", "z", "hello world long element"] {
        add(&mut value, element.as_bytes(), 3000).expect("a sound value");
    }
    assert_eq!(describe_sparse(&value), "Z:8136 v:3,1 Z:444 v:1,1 Z:6350 v:3,1 Z:1441 v:2,1 z:9");
}

#[test]
fn merging_gives_the_union() {
    let filled = |prefix: &str| {
        let mut value = create();
        for i in 0..300 {
            add(&mut value, format!("{prefix}{i}").as_bytes(), 3000).expect("a sound value");
        }
        value
    };
    let (a, b) = (filled("a"), filled("b"));
    let mut all = Box::new([0; REGISTERS]);
    merge(&mut all, &a).expect("a sound value");
    merge(&mut all, &b).expect("a sound value");
    assert_eq!(estimate(&all), 603);
    let mut merged = create();
    raise_all(&mut merged, &all, false, 3000).expect("a sound value");
    assert_eq!((merged.len(), is_dense(&merged)), (1218, false));
    assert_eq!(count(&mut merged), Ok((603, true)));
    raise_all(&mut merged, &all, true, 3000).expect("a sound value");
    assert!(is_dense(&merged) && is_valid(&merged));
    assert_eq!(*registers(&merged).expect("a sound value"), *all);
}

#[test]
fn damage_is_found() {
    assert!(is_valid(&create()));
    assert!(!is_valid(b"HYLL"));
    assert!(!is_valid(b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0"));
    assert!(!is_valid(b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0"));
    let mut short = create();
    short.pop();
    assert_eq!(registers(&short), Err(Corrupted));
    assert_eq!(add(&mut short, b"x", 3000), Err(Corrupted));
    let mut long = create();
    long.push(0);
    assert_eq!(registers(&long), Err(Corrupted));
    assert_eq!(make_dense(&mut long), Err(Corrupted));
}

proptest! {
    #[test]
    fn sparse_and_dense_agree(elements in prop::collection::vec(any::<u16>(), 0..600), max in 100usize..4000) {
        let (mut sparse, mut dense, mut never) = (create(), create(), create());
        make_dense(&mut dense).expect("a sound value");
        for e in &elements {
            let text = e.to_string();
            let grew = add(&mut dense, text.as_bytes(), max).expect("a sound value");
            prop_assert_eq!(add(&mut sparse, text.as_bytes(), max).expect("a sound value"), grew);
            add(&mut never, text.as_bytes(), usize::MAX).expect("a sound value");
        }
        let want = registers(&dense).expect("a sound value");
        prop_assert_eq!(registers(&sparse).expect("a sound value"), want.clone());
        prop_assert_eq!(registers(&never).expect("a sound value"), want.clone());
        let distinct = elements.iter().collect::<HashSet<_>>().len() as f64;
        prop_assert!((estimate(&want) as f64 - distinct).abs() <= 3.0 + distinct * 0.04);
    }

    #[test]
    fn damaged_values_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut value = create();
        value.truncate(HEADER);
        value.extend(bytes);
        let _ = add(&mut value.clone(), b"x", 40);
        let _ = count(&mut value);
        describe_sparse(&value);
        let _ = make_dense(&mut value);
    }
}
