package dashboard_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"steelyard/internal/certs/certtest"
	"steelyard/test/harness"
)

// What is wrong with certificates is a banner while it lasts: files that cannot be
// used, and an end that is near.
func TestCertificatesThatAreWrongAreBanners(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.NewCA(t, "Lab CA"), t.TempDir()
	good := ca.Issue(t, "ecdsa", []string{"shop.test"})
	cert, key := good.Files(t, dir, "shop")
	soon, soonKey := ca.Issue(t, "ecdsa", []string{"api.test"}, certtest.Between(-80*24*time.Hour, 5*24*time.Hour+time.Hour)).Files(t, dir, "api")
	s := harness.Start(t, fmt.Sprintf(`
listeners: {web: {address: "LISTEN", tls: {certificates: [{cert: %q, key: %q}, {cert: %q, key: %q}]}}}
admin: {address: "ADMIN"}
routes: [{respond: {status: 200}}]
`, cert, key, soon, soonKey))
	b := newBrowser(t, 1280, 900)
	b.open("http://" + s.Admin + "/")
	b.sees(".banner.bad", "A certificate of listener web expires in 5 d")
	b.sees(".banner.bad", filepath.Base(soon)+" for api.test")
	certtest.Write(t, cert, []byte("half"))
	b.sees(".banner.warn", "A certificate of listener web cannot be exchanged")
	b.sees(".banner.warn", "has no certificate in PEM")
	good.WriteTo(t, cert, key)
	b.until("the files are right, and the banner goes", "!document.querySelector('.banner.warn')")
	ca.Issue(t, "ecdsa", []string{"api.test"}).WriteTo(t, soon, soonKey)
	b.until("the certificate is renewed, and the banner goes", "!document.querySelector('.banner')")
}
