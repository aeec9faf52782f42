//! Random configurations.

/// Lines that decide where a connection goes.
#[rustfmt::skip]
const ROUTE_LINES: &[&str] = &[
    "HostName=h1", "HostName h2", "HostName %h.example", "hostname \"h3\"", "HostName h4 # comment",
    "HostName 10.0.0.5", "HostName 2001:DB8::1", "HostName H5", "HostName %%x", "User u1", "\tUser  u2",
    "User \"u1\"", "User 'u2'", "User u#3", "port 22", "Port 2222", "Port  2022 ", "Port \"2200\"",
    "Port ssh", "ProxyJump = j1", "ProxyJump j2:2200", "ProxyJump u@j3,j4", "ProxyJump none",
    "ProxyJump j5 # comment", "ProxyJump 10.0.0.1", "ProxyCommand nc %h %p", "ProxyCommand none",
    "ProxyCommand=a \"b c\" # d", "BindAddress 10.0.0.9", "AddressFamily inet", "HostKeyAlias KA",
    "ProxyJump ssh://u@j6:22", "HostName 10.1", "HostName h6.",
];

/// Lines about everything else.
#[rustfmt::skip]
const OTHER_LINES: &[&str] = &[
    "IdentityFile ~/.ssh/k1", "IdentityFile \"~/my keys/k 2\"", "IdentityFile %d/k3", "IdentityFile none",
    "IdentityFile2 k4", "CertificateFile ~/c1", "CertificateFile c2", "IdentitiesOnly yes",
    "IdentitiesOnly FALSE", "IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK", "IdentityAgent $ORACLE",
    "IdentityAgent ~/%r.sock", "IdentityAgent ${ORACLE}/x", "UserKnownHostsFile ~/kh1 /dev/null",
    "UserKnownHostsFile none", "UserKnownHostsFile %d/%n \"k h\"", "GlobalKnownHostsFile /etc/k1",
    "GlobalKnownHostsFile none", "StrictHostKeyChecking yes", "StrictHostKeyChecking accept-new",
    "StrictHostKeyChecking off", "StrictHostKeyChecking ASK", "ConnectTimeout 10", "ConnectTimeout 1m30s",
    "ConnectTimeout none", "ServerAliveInterval 2m", "ServerAliveInterval 0", "ServerAliveCountMax 5",
    "ServerAliveInterval 1h30", "TCPKeepAlive no", "KeepAlive yes", "BatchMode yes", "Compression yes",
    "PasswordAuthentication no", "ChallengeResponseAuthentication no", "PubkeyAuthentication unbound",
    "DSAAuthentication no", "NumberOfPasswordPrompts 1", "PreferredAuthentications publickey,password",
    "HashKnownHosts yes", "SendEnv LANG LC_*", "SendEnv -LC_* FOO", "SetEnv A=1 B=\"two words\" A=2",
    "SetEnv C=3", "RemoteCommand tmux new \"main 1\"", "RemoteCommand none", "RequestTTY force",
    "ControlPath ~/.ssh/cm-%r@%h:%p", "ControlPath none", "ControlPersist 10m", "ControlPersist yes",
    "AddKeysToAgent confirm 30m", "AddKeysToAgent 1h", "AddKeysToAgent ask", "ForwardAgent yes",
    "LocalForward 8080 localhost:80", "LocalForward [::1]:81 h:82", "RemoteForward 9000 [::1]:90",
    "DynamicForward 1080", "RemoteForward 1081", "RekeyLimit 1G 1h", "RekeyLimit 512M",
    "RekeyLimit default none", "EscapeChar none", "EscapeChar ^A", "LogLevel verbose",
    "VerifyHostKeyDNS ask", "UpdateHostKeys no", "ConnectionAttempts 3", "Protocol 2", "Cipher blowfish",
    "UseRoaming no", "RSAAuthentication yes", "IgnoreUnknown Foo*,bar", "Tunnel ethernet", "IPQoS af21 cs1",
    "PermitLocalCommand yes",
];

/// More lines about everything else, for keywords and forms that are rare.
#[rustfmt::skip]
const RARE_LINES: &[&str] = &[
    "StreamLocalBindMask 0133", "StreamLocalBindMask 0111", "SyslogFacility local1", "SyslogFacility AUTH",
    "ForwardAgent /sock", "ForwardAgent no", "ForwardAgent $ORACLE", "RekeyLimit 1.5M none",
    "RekeyLimit default 1h", "LocalForward /tmp/%h h:80", "RemoteForward /tmp/%r-%% /tmp/b",
    "RemoteForward 0 h:80", "DynamicForward *:1081", "LocalForward 8080 localhost:80",
    "ClearAllForwardings yes", "SetEnv D=x\\ y", "SendEnv -*", "SendEnv A\\*B", "EscapeChar \\", "EscapeChar ^a",
    "EscapeChar \" \"", "IPQoS cs0", "TunnelDevice 3:any", "Tunnel yes", "ControlMaster autoask",
    "ControlPath none", "ControlPath \"/x y/%h\"", "ControlPersist 0", "UpdateHostKeys ask", "RequestTTY no",
    "LogLevel error", "LogLevel debug1", "FingerprintHash MD5", "SessionType none", "StdinNull yes",
    "CanonicalDomains a.B. c", "CanonicalizeMaxDots 0", "CanonicalizeFallbackLocal yes",
    "CanonicalizePermittedCNAMEs none", "PermitRemoteOpen ANY", "PermitRemoteOpen h:80 [::1]:*",
    "Ciphers -aes128-ctr", "Ciphers aes256-ctr,aes128-ctr", "MACs ^hmac-sha2-256", "MACs +hmac-md5",
    "KexAlgorithms -*sha2-nistp*", "HostKeyAlgorithms +ssh-rsa", "HostKeyAlgorithms ssh-ed25519*",
    "PubkeyAcceptedKeyTypes -ecdsa*", "HostbasedKeyTypes ^rsa-sha2-256", "CASignatureAlgorithms rsa-sha2-512",
    "ProxyUseFdpass yes", "ProxyJump ssh://a+b@j7,u@[::1]:2200", "ProxyJump 10.0.0.1:ssh", "BindInterface lo",
    "HostName %h%%", "HostName FE80::1", "HostName 0x7f.1", "Port 0022", "Port \" 22\"", "User \"a b\"",
    "User 'it\"s'", "IdentityFile \"a b\"", "IdentityFile a\\ b", "IdentityFile 'k#1' # k2",
    "CertificateFile none", "NumberOfPasswordPrompts +3", "ConnectionAttempts \" 2\"", "RequiredRSASize 2048",
    "XAuthLocation /x", "PKCS11Provider none", "SecurityKeyProvider none", "KbdInteractiveDevices pam",
    "LocalCommand echo %%h", "KnownHostsCommand /bin/x %H %t", "LogVerbose a b", "VisualHostKey True",
    "GatewayPorts TRUE", "ForwardX11Timeout 5m", "NoHostAuthenticationForLocalhost yes", "CheckHostIP yes",
    "ExitOnForwardFailure yes", "StreamLocalBindUnlink yes", "HostbasedAuthentication yes",
    "EnableSSHKeysign yes", "KeepAlive no", "SmartcardDevice /x", "RevokedHostKeys /r", "UserKnownHostsFile # x",
    "AddKeysToAgent Confirm", "PreferredAuthentications none", "IgnoreUnknown *,!foobaz", "FooBar y",
];

/// Lines that only new releases read in this way.
#[rustfmt::skip]
const NEW_LINES: &[&str] = &[
    "Tag one", "Tag two", "RevokedHostKeys none", "RevokedHostKeys /r1 %d/r2", "ChannelTimeout session=1h *=0",
    "ChannelTimeout none", "ObscureKeystrokeTiming interval:40", "ObscureKeystrokeTiming no",
    "WarnWeakCrypto no-pq-kex", "VersionAddendum by %u # kept", "VersionAddendum none", "User %n-%%",
    "User ${ORACLE}", "SetEnv E=%h F=${ORACLE}", "LocalForward ${ORACLE}/s h:80", "ConnectTimeout 1.5",
    "IPQoS throughput va", "ControlPath /x/%j", "ProxyJump none", "ProxyCommand c %h", "SetEnv G=%r",
];

/// `Match` lines that only new releases read in this way.
#[rustfmt::skip]
const NEW_MATCH_LINES: &[&str] = &[
    "Match tagged one", "Match !tagged one", "Match tagged \"\"", "Match tagged=o*,t*", "Match version OpenSSH_*",
    "Match !version OpenSSH_1.*", "Match sessiontype shell", "Match sessiontype none,exec", "Match command \"\"",
    "Match localnetwork 127.0.0.0/8", "Match !localnetwork 192.0.2.0/24", "Match !final", "Match !final host a",
    "Match exec 'test %j = j4'", "Match host \"a\" user 'u1'", "Match host a \"#\" b",
];

/// Lines that OpenSSH refuses, wherever they stand.
#[rustfmt::skip]
const BAD_LINES: &[&str] = &[
    "Port 0", "Port 65536", "Port 22 23", "Compression maybe", "FooBar x", "User", "User \"\"", "User 'u",
    "Match", "Match host", "Match colour red", "Match all all", "ConnectTimeout soon", "ProxyJump u@",
    "ProxyJump j:0", "IdentityFile a b", "SetEnv A", "Ciphers rot13", "StrictHostKeyChecking perhaps",
    "UserKnownHostsFile a none", "LocalForward 80", "IdentityAgent ${UNSET_HERE}",
    "NumberOfPasswordPrompts -1", "EscapeChar abc", "AddKeysToAgent yes 5m", "HostKeyAlgorithms ssh-xyz",
    "Host \"\"", "LocalForward 80 h:80 x", "DynamicForward 80 h:80", "RekeyLimit 15", "MACs ,hmac-sha1",
    "ProxyJump ssh://j/x", "Match all \"\" x", "TunnelDevice 2147483647", "SetEnv", "SendEnv A=1",
];

/// xorshift: the same seed gives the same configuration on every machine.
pub(crate) struct Rng {
    state: u64,
    /// Whether lines that only new releases know are used.
    is_new: bool,
}

impl Rng {
    pub(crate) fn new(seed: u64, release: (u32, u32)) -> Rng {
        Rng {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            is_new: release >= (10, 5),
        }
    }

    /// Whom to ask about, and whether a user and a port are given, too.
    pub(crate) fn destination(&mut self) -> (&'static str, bool) {
        let name = self.pick(&["a", "b", "ab", "c", "A", "a", "b", "u2@a", "ssh://u3@b:2200"]);
        (name, !name.contains('@') && self.below(12) == 0)
    }

    fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % n as u64).unwrap()
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }

    fn host_line(&mut self) -> String {
        let word = self.pick(&["Host", "host", "HOST", "Host=", "\tHost", "\"Host\""]);
        let one = self.pick(&[
            "a", "b", "*", "!a", "?", "a*", "!b*", "\"a\"", "'b'", "h1", "A", "h*",
        ]);
        let two = self.pick(&[
            "", " a", " b", " ab", " *b", " !ab", " # b", " c#", "\tc", " !c *",
        ]);
        format!("{word} {one}{two}")
    }

    fn match_line(&mut self) -> String {
        let line = match self.below(7) {
            0 => self.pick(&[
                "Match all",
                "Match final",
                "Match final all",
                "match FINAL host *",
                "Match canonical",
            ]),
            1 => self.pick(&[
                "Match user u1",
                "Match !user u?",
                "Match user=u*,!u2",
                "Match localuser *",
            ]),
            2 => self.pick(&[
                "Match exec true",
                "Match exec \"exit 1\"",
                "Match !exec false",
                "Match exec \"test %h = h1\"",
            ]),
            3 => self.pick(&[
                "Match exec \"test %n = a\"",
                "Match exec \"test %r-%p = u1-22\"",
                "Match exec \"test %k = ka\"",
            ]),
            4 => self.pick(&[
                "Match originalhost a",
                "Match originalhost b,ab",
                "Match originalhost !a,*",
                "Match Host A",
            ]),
            _ => {
                let negation = self.pick(&["", "", "!"]);
                let equals = self.pick(&["=", " "]);
                let hosts = self.pick(&["a", "b,ab", "*,!a", "h1", "h?", "!h1,*", "*.example", "c"]);
                let more = self.pick(&[
                    "",
                    "",
                    " user u1",
                    " !user u?",
                    " exec true",
                    " exec false",
                    " final",
                    " # tail",
                ]);
                return format!("Match {negation}host{equals}{hosts}{more}");
            }
        };
        line.to_owned()
    }

    /// The text of one file.
    pub(crate) fn config(&mut self, includes: &[String]) -> String {
        let mut text = String::new();
        for _ in 0..self.below(14) + 1 {
            let line = match self.below(40) {
                0..=7 => self.host_line(),
                8..=12 => self.match_line(),
                13..=15 if !includes.is_empty() => {
                    let path = includes[self.below(includes.len())].clone();
                    let word = self.pick(&["Include", "include", "Include =", " Include"]);
                    if self.below(3) == 0 {
                        format!("{word} \"{path}\" # c")
                    } else {
                        format!("{word} {path}")
                    }
                }
                16..=25 => self.pick(ROUTE_LINES).to_owned(),
                26..=27 => self
                    .pick(&["", "# comment", "   ", "\t# x", "# FooBaz", "", "BAR z"])
                    .to_owned(),
                28 if self.below(6) == 0 => self.pick(BAD_LINES).to_owned(),
                28..=30 if self.is_new => self.pick(NEW_LINES).to_owned(),
                31 if self.is_new => self.pick(NEW_MATCH_LINES).to_owned(),
                31..=35 => self.pick(RARE_LINES).to_owned(),
                _ => self.pick(OTHER_LINES).to_owned(),
            };
            // Not in every file: `FooBaz` is refused unless it is ignored.
            text.push_str(self.pick(&["", "", "  ", "\t"]));
            text.push_str(&line);
            text.push_str(self.pick(&["\n", "\n", "\n", "\r\n", " \t\n"]));
        }
        text
    }
}

/// Answers that changed between releases are no questions to an old one, and what depends on other files is none.
pub(crate) fn comparable(text: &str, version: (u32, u32)) -> bool {
    let lower = text.to_ascii_lowercase();
    // OpenSSH ends when the agent's socket is missing, which says nothing about the configuration.
    let agent = ["forwardagent /", "forwardagent $"];
    if lower.contains("exitonforwardfailure yes") && agent.iter().any(|it| lower.contains(it)) {
        return false;
    }
    if version < (10, 1) {
        let is_refused_now = |line: &str| {
            let mut words = line.split([' ', '\t', '=']).filter(|it| !it.is_empty());
            let begins = matches!(words.next(), Some("ciphers" | "macs"));
            // Old releases ignore a list behind an empty name.
            begins && words.any(|it| it.trim_start_matches(['"', '+', '^']).starts_with(','))
        };
        let jump_off = lower.contains("proxyjump none") && lower.contains("proxycommand");
        return !jump_off && !lower.lines().any(|it| is_refused_now(it.trim()));
    }
    // The newest release lets the first mask win; all others the last one, wherever it stands.
    version < (10, 6) || !text.contains("StreamLocalBindMask")
}
