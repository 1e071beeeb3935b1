package plane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Trust is the cluster's own certificate authority, one serving certificate that all components share, and the key
// that signs service-account tokens. Everything is made anew for each cluster and kept in its directory. It issues no
// client certificates: clients use tokens.
type Trust struct {
	AuthorityFile   string
	CertificateFile string
	KeyFile         string
	// Service-account tokens are signed with AccountKeyFile and checked with AccountPublicFile.
	AccountKeyFile    string
	AccountPublicFile string

	AuthorityPEM []byte
	Pool         *x509.CertPool
	Serving      tls.Certificate
}

// NewTrust makes the keys and certificates and writes them to the directory.
func NewTrust(dir string) (*Trust, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &Trust{
		AuthorityFile:     filepath.Join(dir, "ca.crt"),
		CertificateFile:   filepath.Join(dir, "serving.crt"),
		KeyFile:           filepath.Join(dir, "serving.key"),
		AccountKeyFile:    filepath.Join(dir, "service-accounts.key"),
		AccountPublicFile: filepath.Join(dir, "service-accounts.pub"),
		Pool:              x509.NewCertPool(),
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "tidegate-cluster"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + 1),
		Subject:      pkix.Name{CommonName: "127.0.0.1"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceAddress)},
	}
	authorityKey, err := newKey()
	if err != nil {
		return nil, err
	}
	servingKey, err := newKey()
	if err != nil {
		return nil, err
	}
	accountKey, err := newKey()
	if err != nil {
		return nil, err
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, fmt.Errorf("making the certificate authority: %w", err)
	}
	servingDER, err := x509.CreateCertificate(rand.Reader, serving, authority, servingKey.Public(), authorityKey)
	if err != nil {
		return nil, fmt.Errorf("making the serving certificate: %w", err)
	}
	servingKeyPEM, err := privatePEM(servingKey)
	if err != nil {
		return nil, err
	}
	accountKeyPEM, err := privatePEM(accountKey)
	if err != nil {
		return nil, err
	}
	accountPublicDER, err := x509.MarshalPKIXPublicKey(accountKey.Public())
	if err != nil {
		return nil, err
	}
	t.AuthorityPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	servingPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: servingDER})
	for path, content := range map[string][]byte{
		t.AuthorityFile:     t.AuthorityPEM,
		t.CertificateFile:   servingPEM,
		t.KeyFile:           servingKeyPEM,
		t.AccountKeyFile:    accountKeyPEM,
		t.AccountPublicFile: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: accountPublicDER}),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
	}
	t.Pool.AppendCertsFromPEM(t.AuthorityPEM)
	t.Serving, err = tls.X509KeyPair(servingPEM, servingKeyPEM)
	return t, err
}

func newKey() (*ecdsa.PrivateKey, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func privatePEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
