package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Pair is a certificate with its key, as read from files.
type Pair struct {
	Files
	Leaf *x509.Certificate
	// Names are the hosts it is chosen for, in lower case: names, patterns such as
	// *.example.com, and addresses.
	Names   []string
	KeyType string // ecdsa, ed25519 or rsa
	// Warnings are things that are allowed and hardly meant.
	Warnings []string

	cert   tls.Certificate
	issuer *x509.Certificate // nil: the file does not have it

	issuerText, serialText string // for Status, which is asked for every second
}

// Load reads a certificate and its key and says what speaks against showing
// them to clients at a time. Either the pair or the problems are nil.
func Load(f Files, now time.Time) (*Pair, Problems) {
	p := &Pair{Files: f}
	chain, bad := readChain("cert", f.CertFile)
	key, alsoBad := readKey(f)
	if bad != nil || alsoBad != nil {
		return nil, both(bad, alsoBad)
	}
	p.Leaf = chain[0]
	if bad := p.match(chain, key); bad != nil {
		return nil, Problems{bad}
	}
	p.cert = tls.Certificate{PrivateKey: key, Leaf: p.Leaf}
	for _, c := range chain {
		p.cert.Certificate = append(p.cert.Certificate, c.Raw)
	}
	if len(chain) > 1 && p.Leaf.CheckSignatureFrom(chain[1]) == nil {
		p.issuer = chain[1]
	} else if selfSigned(p.Leaf) {
		p.issuer = p.Leaf
	}
	problems := p.judge(now)
	p.nameHosts(&problems)
	if problems != nil {
		return nil, problems
	}
	p.warn(chain, now)
	p.issuerText, p.serialText = p.Leaf.Issuer.String(), p.Leaf.SerialNumber.Text(16)
	return p, nil
}

func both(ps ...*Problem) (all Problems) {
	for _, p := range ps {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// readChain reads the certificates of a PEM file.
func readChain(key, path string) ([]*x509.Certificate, *Problem) {
	data, bad := readFile(key, path)
	if bad != nil {
		return nil, bad
	}
	var chain []*x509.Certificate
	others := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			others = block.Type
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, &Problem{Key: key, File: path, Msg: fmt.Sprintf("has a certificate (number %d) that cannot be read: %v", len(chain)+1, err), Cure: "have it issued anew"}
		}
		chain = append(chain, c)
	}
	if len(chain) > 0 {
		return chain, nil
	}
	none := &Problem{Key: key, File: path, Msg: "has no certificate in PEM", Cure: "was it written to its end?"}
	switch {
	case strings.Contains(others, "PRIVATE KEY"):
		none.Msg, none.Cure = "has a key and no certificate", "are cert and key exchanged?"
	case others != "":
		none.Msg, none.Cure = "has a "+others+" and no certificate", "name the file with the certificate"
	default:
		if _, err := x509.ParseCertificate(data); err == nil {
			none.Msg, none.Cure = "is DER and not PEM", "openssl x509 -inform der -in FILE -out FILE.pem converts it"
		}
	}
	return nil, none
}

// readKey reads the first key of a PEM file.
func readKey(f Files) (crypto.Signer, *Problem) {
	data, bad := readFile("key", f.KeyFile)
	if bad != nil {
		return nil, bad
	}
	wrong := func(msg, cure string) (crypto.Signer, *Problem) {
		return nil, &Problem{Key: "key", File: f.KeyFile, Msg: msg, Cure: cure}
	}
	others := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			others = block.Type
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return wrong("has a key that is encrypted, and nobody is there to give the passphrase", "openssl pkey -in FILE -out FILE.plain takes it off; let only Steelyard's user read the result")
		}
		key, err := parseKey(block.Bytes)
		if err != nil {
			return wrong("has a key that cannot be read: "+err.Error(), "was it written to its end?")
		}
		return judgeKey(key, wrong)
	}
	if others == "CERTIFICATE" {
		return wrong("has a certificate and no key", "are cert and key exchanged?")
	}
	if _, err := parseKey(data); err == nil {
		return wrong("is DER and not PEM", "openssl pkey -inform der -in FILE -out FILE.pem converts it")
	}
	return wrong("has no key in PEM", "was it written to its end?")
}

func parseKey(der []byte) (any, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, err
}

// minRSA is the fewest bits of an RSA key; browsers refuse less.
const minRSA = 2048

// judgeKey refuses keys that no client would accept.
func judgeKey(key any, wrong func(msg, cure string) (crypto.Signer, *Problem)) (crypto.Signer, *Problem) {
	const another = "make another, such as with: openssl ecparam -name prime256v1 -genkey -noout -out FILE"
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if n := k.N.BitLen(); n < minRSA {
			return wrong(fmt.Sprintf("has an RSA key of %d bits, which clients do not accept", n), another)
		}
		return k, nil
	case *ecdsa.PrivateKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return wrong("has an ECDSA key on "+k.Curve.Params().Name+", which TLS does not know", another)
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return wrong(fmt.Sprintf("has a key of a kind that TLS does not sign with (%T)", key), another)
}

// match finds out whether certificate and key belong together.
func (p *Pair) match(chain []*x509.Certificate, key crypto.Signer) *Problem {
	own := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch key.(type) {
	case *rsa.PrivateKey:
		p.KeyType = "rsa"
	case *ecdsa.PrivateKey:
		p.KeyType = "ecdsa"
	default:
		p.KeyType = "ed25519"
	}
	for i, c := range chain {
		if !own.Equal(c.PublicKey) {
			continue
		}
		if i == 0 {
			return nil
		}
		return &Problem{Key: "cert", File: p.CertFile, Msg: fmt.Sprintf("has the certificate of the key as number %d", i+1), Cure: "put it first, then the one that signed it, and so on"}
	}
	return &Problem{Key: "key", File: p.KeyFile, Msg: "is not the key of the certificate in " + p.CertFile + " (" + subjectOf(p.Leaf) + ")", Cure: "name the key that the certificate was requested with"}
}

// timeFormat is how times are told to people.
const timeFormat = "2006-01-02 15:04 MST"

// judge says what speaks against showing the certificate to clients.
func (p *Pair) judge(now time.Time) (ps Problems) {
	wrong := func(msg, cure string) {
		ps = append(ps, &Problem{Key: "cert", File: p.CertFile, Msg: msg, Cure: cure})
	}
	switch {
	case now.After(p.Leaf.NotAfter):
		wrong("has expired on "+p.Leaf.NotAfter.UTC().Format(timeFormat), "renew it")
	case now.Before(p.Leaf.NotBefore):
		wrong("is not valid before "+p.Leaf.NotBefore.UTC().Format(timeFormat), "is the clock of this machine right? It shows "+now.UTC().Format(timeFormat))
	}
	serves := func(u x509.ExtKeyUsage) bool { return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny }
	if len(p.Leaf.ExtKeyUsage)+len(p.Leaf.UnknownExtKeyUsage) > 0 && !slices.ContainsFunc(p.Leaf.ExtKeyUsage, serves) {
		wrong("is not meant for servers (its extended key usage lacks serverAuth)", "have one issued for a server")
	}
	return ps
}

// nameHosts finds the hosts that the certificate is chosen for.
func (p *Pair) nameHosts(ps *Problems) {
	var has []string
	for _, n := range p.Leaf.DNSNames {
		has = append(has, strings.ToLower(strings.TrimSuffix(n, ".")))
	}
	for _, ip := range p.Leaf.IPAddresses {
		has = append(has, ip.String())
	}
	if len(has) == 0 {
		*ps = append(*ps, &Problem{Key: "cert", File: p.CertFile, Msg: "names no host (subjectAltName is missing, and clients have ceased to look at the common name)", Cure: "have it issued with subjectAltName"})
		return
	}
	p.Names = has
	if len(p.Hosts) == 0 {
		return
	}
	p.Names = nil
	for _, h := range p.Hosts {
		h = strings.ToLower(h)
		if !slices.Contains(has, h) && (strings.HasPrefix(h, "*") || p.Leaf.VerifyHostname(h) != nil) {
			*ps = append(*ps, &Problem{Key: "hosts", File: p.CertFile, Msg: "is not valid for " + h + " (it is for " + someOf(has) + ")", Cure: "have it issued for that host as well, or take the host out"})
			continue
		}
		p.Names = append(p.Names, h)
	}
}

// warn notes what is allowed and hardly meant.
func (p *Pair) warn(chain []*x509.Certificate, now time.Time) {
	if p.Expiring(now) {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%s expires on %s; renew it", p.CertFile, p.Leaf.NotAfter.UTC().Format(timeFormat)))
	}
	if len(chain) == 1 && !selfSigned(p.Leaf) && len(p.Leaf.IssuingCertificateURL) > 0 {
		p.Warnings = append(p.Warnings, p.CertFile+" has the certificate alone, and clients that do not know who signed it ("+p.Leaf.Issuer.String()+") refuse it; name the file with the full chain")
	}
	for i := range len(chain) - 1 {
		if chain[i].CheckSignatureFrom(chain[i+1]) != nil {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: certificate %d was not signed by number %d behind it; the order is the certificate, who signed it, and so on", p.CertFile, i+1, i+2))
			break
		}
	}
}

// soon is how long before its end a certificate counts as expiring, for one that
// lives long; for others it is a quarter of their life.
const soon = 14 * 24 * time.Hour

// Expiring reports whether the end is so near that the renewal must have failed.
func (p *Pair) Expiring(now time.Time) bool {
	life := p.Leaf.NotAfter.Sub(p.Leaf.NotBefore)
	return p.Leaf.NotAfter.Sub(now) < min(soon, life/4)
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// subjectOf says in a few words whose certificate it is.
func subjectOf(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return "for " + someOf(c.DNSNames)
	}
	return c.Subject.String()
}

// someOf lists the first few of many.
func someOf(words []string) string {
	const most = 5
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

// readCAs reads the CAs that certificates of clients come from. sum tells one
// set of them from another.
func readCAs(path string, now time.Time) (pool *x509.CertPool, sum []byte, bad *Problem) {
	chain, bad := readChain("ca", path)
	if bad != nil {
		return nil, nil, bad
	}
	pool = x509.NewCertPool()
	valid := 0
	for _, c := range chain {
		if !c.IsCA && !selfSigned(c) {
			return nil, nil, &Problem{Key: "ca", File: path, Msg: "has a certificate that is not of a CA (" + subjectOf(c) + ")", Cure: "name the certificates that those of clients are signed by"}
		}
		if now.Before(c.NotAfter) {
			valid++
		}
		pool.AddCert(c)
		sum = append(sum, c.Raw...)
	}
	if valid == 0 {
		return nil, nil, &Problem{Key: "ca", File: path, Msg: "has no CA that has not expired", Cure: "add the new one"}
	}
	return pool, sum, nil
}

// CheckCAs says what is wrong with a file of CAs; nil: nothing.
func CheckCAs(path string, now time.Time) *Problem {
	_, _, bad := readCAs(path, now)
	return bad
}
