package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bookstore.platform/istio/nodeproxy/istiod/istiodtest"
)

func TestOneRequestForManyWaiters(t *testing.T) {
	server, m := start(t)
	release := make(chan struct{})
	ca := server.CA
	server.SetAnswer(func(_ context.Context, identity string, public any) ([]string, error) {
		<-release
		leaf := ca.Sign(t, istiodtest.Leaf(t, time.Now().Add(-time.Minute), time.Now().Add(time.Hour), identity), public)
		return []string{istiodtest.PEM(leaf), istiodtest.PEM(ca.Certificate)}, nil
	})
	m.Keep([]string{web, db})
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := m.ServerConfig(soon(t), web); err != nil {
				t.Error(err)
			}
		})
	}
	istiodtest.Eventually(t, "50 wait", func() bool {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		return m.entries[web] != nil && m.entries[web].waiters == 50
	})
	close(release)
	group.Wait()
	serverConfig(t, m, db)
	if count, _ := server.Signed(); count[web] != 1 || count[db] != 1 {
		t.Errorf("requests for certificates: %v, want one for each identity", count)
	}
}

func TestTheOrderOfRequests(t *testing.T) {
	m := New(Config{Log: discard()})
	m.Keep([]string{db, web})
	due := &certificate{leaf: leafUntil(t, time.Hour), renew: time.Now().Add(-time.Minute)}
	m.entries[db].current = due
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	const waiting = "spiffe://cluster.local/ns/shop/sa/waiting"
	if _, err := m.ServerConfig(gone, waiting); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var order []string
	for range 3 {
		e, _, _ := m.next(renewal)
		order = append(order, e.id.URI())
	}
	if want := []string{waiting, web, db}; !slices.Equal(order, want) {
		t.Errorf("order %v, want the waiting one, then the new one, then the renewal: %v", order, want)
	}
	if e, _, _ := m.next(renewal); e != nil {
		t.Errorf("%s is asked for twice at once", e.id)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	var ca *istiodtest.CA
	foreign, now := istiodtest.NewCA(t, "foreign"), time.Now()
	hour := func(public any, by *istiodtest.CA, uris ...string) string {
		return istiodtest.PEM(by.Sign(t, istiodtest.Leaf(t, now.Add(-time.Minute), now.Add(time.Hour), uris...), public))
	}
	for reason, answer := range map[string]func(public any) []string{
		"no certificate":       func(any) []string { return nil },
		"holds no certificate": func(any) []string { return []string{"", istiodtest.PEM(ca.Certificate)} },
		"chain in istiod's": func(any) []string {
			return []string{"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", istiodtest.PEM(ca.Certificate)}
		},
		"instead of": func(public any) []string { return []string{hour(public, ca, db), istiodtest.PEM(ca.Certificate)} },
		"2 URIs":     func(public any) []string { return []string{hour(public, ca, web, db), istiodtest.PEM(ca.Certificate)} },
		"another key": func(any) []string {
			return []string{hour(istiodtest.NewKey(t).Public(), ca, web), istiodtest.PEM(ca.Certificate)}
		},
		"unknown authority":  func(public any) []string { return []string{hour(public, foreign, web), istiodtest.PEM(ca.Certificate)} },
		"is not one of a CA": func(public any) []string { return []string{hour(public, ca, web), hour(public, ca, web)} },
		"expired": func(public any) []string {
			return []string{istiodtest.PEM(ca.Sign(t, istiodtest.Leaf(t, now.Add(-time.Hour), now.Add(-time.Minute), web), public)), istiodtest.PEM(ca.Certificate)}
		},
		"authentication failure": nil,
	} {
		t.Run(reason, func(t *testing.T) {
			server, m := start(t)
			ca = server.CA
			server.SetAnswer(func(_ context.Context, _ string, public any) ([]string, error) {
				if answer == nil {
					return nil, status.Error(codes.Unauthenticated, "request impersonation authentication failure")
				}
				return answer(public), nil
			})
			m.Keep([]string{web})
			istiodtest.Eventually(t, "an attempt", func() bool { return failure(m, web) != nil })
			if _, err := m.ServerConfig(shortly(t), web); err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%v, want %q", err, reason)
			}
			server.SetAnswer(nil)
			serverConfig(t, m, web) // a fresh pod may be unknown to istiod for a moment: it is asked again
		})
	}
}

func failure(m *Manager, uri string) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if e := m.entries[uri]; e != nil {
		return e.failure
	}
	return nil
}

func TestRenewalBeforeTheEnd(t *testing.T) {
	server, m := start(t)
	server.SetLifetime(2 * time.Second)
	m.Keep([]string{web})
	config := serverConfig(t, m, web)
	first := held(m, web)
	// Seen from its end, which does not depend on how busy the machine is; whole seconds of an X.509 time are between.
	if left := first.leaf.NotAfter.Sub(first.renew); left < 300*time.Millisecond || left > 1200*time.Millisecond {
		t.Errorf("a certificate of 2 s is renewed %s before its end", left)
	}
	istiodtest.Eventually(t, "another certificate", func() bool { return held(m, web) != first })
	if !first.validAt(time.Now()) {
		t.Error("the renewal came after the end")
	}
	atClient, _, err := handshake(t, clientConfig(t, m, db, web), config)
	if err != nil || atClient.PeerCertificates[0].Equal(first.leaf) {
		t.Errorf("the settings of before hand out the certificate of before (%v)", err)
	}
}

// The machine slept: the time of day has moved on beyond half of the life, while no timer has run.
func TestTheClockMovesOn(t *testing.T) {
	now := &clock{}
	server, m := start(t, func(c *Config) { c.Now = now.now })
	m.Keep([]string{web})
	config := serverConfig(t, m, web)
	first := held(m, web)
	server.SetAnswer(func(context.Context, string, any) ([]string, error) {
		return nil, status.Error(codes.Unavailable, "away")
	})
	now.advance(40 * time.Minute)
	istiodtest.Eventually(t, "a renewal is tried", func() bool { count, _ := server.Signed(); return count[web] >= 2 })
	if held(m, web) != first {
		t.Fatal("a failed renewal takes the valid certificate away")
	}
	if _, _, err := handshake(t, clientConfig(t, m, web, web), config); err != nil {
		t.Errorf("the valid certificate is not used while renewals fail: %v", err)
	}
	now.advance(21 * time.Minute)
	if _, err := m.ServerConfig(shortly(t), web); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("an expired certificate is used: %v", err)
	}
	ca := server.CA
	server.SetAnswer(func(_ context.Context, identity string, public any) ([]string, error) {
		leaf := ca.Sign(t, istiodtest.Leaf(t, now.now().Add(-time.Minute), now.now().Add(time.Hour), identity), public)
		return []string{istiodtest.PEM(leaf), istiodtest.PEM(ca.Certificate)}, nil
	})
	serverConfig(t, m, web)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if e := m.entries[web]; e.failures != 0 || !e.retry.IsZero() {
		t.Errorf("success does not reset the pause: %d failures", e.failures)
	}
}

func TestWhatIsNotInUseIsForgotten(t *testing.T) {
	now := &clock{}
	server, m := start(t, func(c *Config) { c.Now = now.now })
	m.Keep([]string{web, db, "no identity"})
	istiodtest.Eventually(t, "both are signed ahead", func() bool { return held(m, web) != nil && held(m, db) != nil })
	m.Keep([]string{web})
	now.advance(4 * time.Minute)
	m.forget()
	if held(m, db) == nil {
		t.Error("forgotten within the time that a new pod may come in")
	}
	now.advance(2 * time.Minute)
	istiodtest.Eventually(t, "forgotten", func() bool { return held(m, db) == nil })
	if held(m, web) == nil {
		t.Error("one in use is forgotten")
	}
	m.Keep([]string{web, db})
	istiodtest.Eventually(t, "signed anew", func() bool { return held(m, db) != nil })
	if count, _ := server.Signed(); count[db] != 2 || count[web] != 1 {
		t.Errorf("requests: %v", count)
	}
}

func TestIstiodIsAwayAtTheStart(t *testing.T) {
	server, m := start(t)
	server.Down()
	if _, err := m.ServerConfig(shortly(t), web); err == nil {
		t.Fatal("a certificate of nobody")
	}
	server.Up()
	serverConfig(t, m, web)
	server.SetToken("token-2", false)
	m.Keep([]string{db})
	istiodtest.Eventually(t, "an attempt", func() bool { return failure(m, db) != nil })
	if _, err := m.ServerConfig(shortly(t), db); err == nil || !strings.Contains(err.Error(), "authentication failure") {
		t.Errorf("a token of before: %v", err)
	}
	server.SetToken("token-2", true)
	serverConfig(t, m, db)
}
