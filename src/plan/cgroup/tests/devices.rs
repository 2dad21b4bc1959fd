use super::*;

/// The v1 device lines for some rules.
fn device_lines(devices: Value) -> std::result::Result<Vec<String>, String> {
    let plan = plan(&v1(), json!({ "resources": { "devices": devices } }))?;
    let devices = plan.limits.writes.into_iter().filter(|w| w.controller == "devices");
    Ok(devices.map(|w| format!("{} {}", w.file.trim_start_matches("devices."), w.value)).collect())
}

#[test]
fn v1_device_rules_are_worked_out_to_a_default_and_exceptions() {
    let defaults = [
        "allow c *:* m",
        "allow b *:* m",
        "allow c 1:3 rwm",
        "allow c 1:8 rwm",
        "allow c 1:7 rwm",
        "allow c 5:0 rwm",
        "allow c 1:5 rwm",
        "allow c 1:9 rwm",
        "allow c 136:* rwm",
        "allow c 5:2 rwm",
        "allow c 10:200 rwm",
    ];
    let usual = json!([
        { "allow": false, "access": "rwm" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" },
        { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "m" },
        { "allow": true, "type": "b", "major": 7, "minor": 1, "access": "rwm" },
        { "allow": false, "type": "b", "major": 7, "minor": -1, "access": "w" }
    ]);
    let expect: Vec<_> = ["deny a *:* rwm", "allow c 10:229 rwm", "allow b 7:1 rm"].iter().chain(&defaults).collect();
    assert_eq!(device_lines(usual).unwrap().iter().collect::<Vec<_>>(), expect);

    // Privileged: everything but; the defaults then have nothing to add.
    let all = json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "c", "major": 10, "minor": 1, "access": "w" }]);
    assert_eq!(device_lines(all).unwrap(), ["deny a *:* rwm", "allow a *:* rwm", "deny c 10:1 w"]);

    // "a" with less than all means both types, not everything.
    let partial = json!([{ "allow": true, "access": "r" }]);
    assert_eq!(device_lines(partial).unwrap()[..3], ["deny a *:* rwm", "allow b *:* rm", "allow c *:* rm"]);

    let hole = json!([
        { "allow": true, "type": "c", "major": 10, "access": "rw" },
        { "allow": false, "type": "c", "major": 10, "minor": 3, "access": "w" }
    ]);
    let error = device_lines(hole).unwrap_err();
    assert!(error.starts_with("linux.resources.devices[1]: ") && error.contains("cannot punch hole"), "{error}");
}

#[test]
fn v2_device_rules_keep_their_order_and_linux_devices_replaces_a_default() {
    let plan = plan(
        &v2(),
        json!({
            "devices": [{ "path": "/dev/null", "type": "c", "major": 1, "minor": 3 }],
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] }
        }),
    )
    .unwrap();
    let rules: Vec<_> = plan.limits.devices.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(rules[..3], ["a *:* rwm", "c *:* m", "b *:* m"]);
    assert!(rules.contains(&"c 1:5 rwm".into()) && !rules.contains(&"c 1:3 rwm".into()));
}
