package process

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestImagesAreFoundByFullNameFirstThenByRepository(t *testing.T) {
	images := Images{}
	for _, text := range []string{"web=run web", "web:2=run web two", "host:5000/team/api=run api"} {
		if err := images.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	for image, want := range map[string]string{
		"web":                       "run web",
		"web:1":                     "run web",
		"web:2":                     "run web two",
		"web@sha256:abc":            "run web",
		"web:1@sha256:abc":          "run web",
		"host:5000/team/api":        "run api",
		"host:5000/team/api:v1":     "run api",
		"local/anything:1":          "",
		"local/anything@sha256:abc": "",
	} {
		command, known := images.entrypoint(image)
		if !known || strings.Join(command, " ") != want {
			t.Errorf("%s: got %v (known %t), want %q", image, command, known, want)
		}
	}
	for _, image := range []string{"nginx:1.29", "other/web:1", "local"} {
		if _, known := images.entrypoint(image); known {
			t.Errorf("%s should not be known", image)
		}
	}
	for _, text := range []string{"web", "web=", "=run"} {
		if images.Add(text) == nil {
			t.Errorf("%q should be refused", text)
		}
	}
}

func TestBackoffRestartsAtOnceThenDoublesThenForgets(t *testing.T) {
	b := backoff{first: time.Second, longest: 30 * time.Second}
	var pauses []time.Duration
	for range 8 {
		pauses = append(pauses, b.pause(0)/time.Second)
	}
	if want := []time.Duration{0, 1, 2, 4, 8, 16, 30, 30}; !slices.Equal(pauses, want) {
		t.Errorf("got %v, want %v", pauses, want)
	}
	if pause := b.pause(time.Minute); pause != 0 {
		t.Errorf("after a long run the pause is %s, want none", pause)
	}
}

func TestAddressesAreUsedAgainAsLateAsPossible(t *testing.T) {
	a := NewAddresses(77)
	first, err := a.take()
	if err != nil || first != "127.77.1.1" {
		t.Fatalf("got %s, %v", first, err)
	}
	a.free(first)
	for range 254*254 - 1 {
		if next, err := a.take(); err != nil || next == first {
			t.Fatalf("got %s, %v", next, err)
		}
	}
	if again, err := a.take(); err != nil || again != first {
		t.Errorf("got %s, %v, want %s", again, err, first)
	}
	if _, err := a.take(); err == nil {
		t.Error("there should be no more addresses")
	}
}

// fixedConfigs are ConfigMaps and Secrets by name.
type fixedConfigs struct {
	configMaps map[string]map[string]string
	secrets    map[string]map[string]string
}

func (f fixedConfigs) ConfigMap(name string) (*corev1.ConfigMap, bool, error) {
	data, found := f.configMaps[name]
	return &corev1.ConfigMap{Data: data}, found, nil
}

func (f fixedConfigs) Secret(name string) (*corev1.Secret, bool, error) {
	data, found := f.secrets[name]
	secret := &corev1.Secret{Data: map[string][]byte{}}
	for key, value := range data {
		secret.Data[key] = []byte(value)
	}
	return secret, found, nil
}

var testConfigs = fixedConfigs{
	configMaps: map[string]map[string]string{"settings": {"COLOR": "blue", "not a name": "x"}},
	secrets:    map[string]map[string]string{"keys": {"TOKEN": "t0p"}},
}

func testPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "shop", UID: "u1", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a/b": "c"}},
		Spec:       corev1.PodSpec{NodeName: "n1"},
	}
}

func TestEnvironmentIsWhatAKubeletWouldGive(t *testing.T) {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	optional := true
	container := &corev1.Container{
		EnvFrom: []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}},
			{Prefix: "S_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "gone"}, Optional: &optional}},
		},
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "v"},
			{Name: "BOTH", Value: "$(PLAIN)-$(COLOR)-$(LATER)-$$(PLAIN)"},
			{Name: "LATER", Value: "l"},
			field("IP", "status.podIP"), field("NODE", "spec.nodeName"), field("HOST", "status.hostIP"),
			field("NAME", "metadata.name"), field("NS", "metadata.namespace"), field("UID", "metadata.uid"),
			field("LABEL", "metadata.labels['app']"), field("ANNOTATION", "metadata.annotations['a/b']"),
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "TOKEN"}}},
			{Name: "ABSENT", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "none", Optional: &optional}}},
		},
	}
	variables, err := environment(testPod(), container, "127.9.1.1", testConfigs)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range variables {
		got[v.name] = v.value
	}
	for name, want := range map[string]string{
		"COLOR": "blue", "S_TOKEN": "t0p", "PLAIN": "v", "BOTH": "v-blue-$(LATER)-$(PLAIN)", "LATER": "l",
		"IP": "127.9.1.1", "POD_IP": "127.9.1.1", "NODE": "n1", "HOST": "127.0.0.1", "HOSTNAME": "p",
		"NAME": "p", "NS": "shop", "UID": "u1", "LABEL": "web", "ANNOTATION": "c", "KEY": "t0p",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{"ABSENT", "not a name"} {
		if value, ok := got[name]; ok {
			t.Errorf("%s should not be set, and is %q", name, value)
		}
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	key := func(name, key string) *corev1.Container {
		return &corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key},
		}}}}
	}
	for want, container := range map[string]*corev1.Container{
		`configmap "gone" not found`:                     key("gone", "a"),
		`couldn't find key none in configmap "settings"`: key("settings", "none"),
	} {
		if _, err := environment(testPod(), container, "", testConfigs); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMountPathsBecomeRealPathsOnlyWhereTheyStandAlone(t *testing.T) {
	list := mounts(&corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "etc", MountPath: "/etc/app/"}, {Name: "secret", MountPath: "/etc/app/secret"}, {Name: "one", MountPath: "/one.txt", SubPath: "a/b"},
	}}, func(volume string) string { return "/real/" + volume }, nil)
	for text, want := range map[string]string{
		"/etc/app":                       "/real/etc",
		"/etc/app/file":                  "/real/etc/file",
		"/etc/app/secret/key":            "/real/secret/key",
		"cat /etc/app/x '/etc/app/y'":    "cat /real/etc/x '/real/etc/y'",
		"--config=/etc/app/x:/etc/app/z": "--config=/real/etc/x:/real/etc/z",
		"/etc/application":               "/etc/application",
		"/other/etc/app":                 "/other/etc/app",
		"/one.txt":                       "/real/one/a/b",
		"":                               "",
	} {
		if got := relocate(text, list); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if name := volumeVariable("my-data.v1"); name != "VOLUME_MY_DATA_V1" {
		t.Errorf("got %s", name)
	}
}

func TestProbeThresholdsCountInARow(t *testing.T) {
	count := tally{successThreshold: 2, failureThreshold: 3}
	var settled []bool
	for _, ok := range []bool{true, false, true, true, false, false, true, false, false, false} {
		settled = append(settled, count.add(ok))
	}
	if want := []bool{false, false, false, true, false, false, false, false, false, true}; !slices.Equal(settled, want) {
		t.Errorf("got %v, want %v", settled, want)
	}
}

func TestOutputGivesBackLinesTailsAndWhatFollows(t *testing.T) {
	reader, writer := io.Pipe()
	output, err := newOutput(filepath.Join(t.TempDir(), "0"), reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(writer, "one\ntwo\nthree\n"); err != nil {
		t.Fatal(err)
	}
	// What is written is kept a moment later.
	kept := func() string {
		var now strings.Builder
		if err := output.Send(context.Background(), &now, func() {}, OutputOptions{Tail: -1}); err != nil {
			t.Fatal(err)
		}
		return now.String()
	}
	for kept() != "one\ntwo\nthree\n" {
		time.Sleep(time.Millisecond)
	}
	var followed strings.Builder
	reachedEnd := make(chan struct{}, 10)
	done := make(chan error)
	go func() {
		done <- output.Send(context.Background(), &followed, func() { reachedEnd <- struct{}{} }, OutputOptions{Follow: true, Tail: 1})
	}()
	<-reachedEnd
	if _, err := io.WriteString(writer, "four\nunfinished"); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if err := <-done; err != nil || followed.String() != "three\nfour\nunfinished\n" {
		t.Errorf("followed %q, %v", followed.String(), err)
	}
	var all strings.Builder
	if err := output.Send(context.Background(), &all, func() {}, OutputOptions{Tail: -1, Timestamps: true}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(all.String()), "\n"); len(lines) != 5 || !strings.HasSuffix(lines[0], "Z one") {
		t.Errorf("got %q", lines)
	}
}
