{{/* The pod, whichever workload makes it. */}}
{{- define "st8d.pod" -}}
metadata:
  labels:
    {{- include "st8d.selectorLabels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/secrets: {{ toJson (list .Values.auth.token.value .Values.auth.policy.config) | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "st8d.serviceAccountName" . }}
  automountServiceAccountToken: false
  # Its variables would look like settings of st8d.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: st8d
      image: {{ include "st8d.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        - --listen=:8748
        {{- if not (include "st8d.hasStore" .) }}
        - --state-dir=/data
        {{- end }}
        {{- if include "st8d.policySecret" . }}
        - --auth-config=/etc/st8d/policy/policy.yaml
        {{- end }}
        {{- with .Values.auditLog }}
        - --audit-log={{ . }}
        {{- end }}
        {{- if .Values.tls.enabled }}
        - --tls-cert=/etc/st8d/tls/tls.crt
        - --tls-key=/etc/st8d/tls/tls.key
        - --tls-min-version={{ .Values.tls.minVersion }}
        {{- if .Values.tls.clientCA.existingSecret }}
        - --tls-client-ca=/etc/st8d/client-ca/ca.crt
        - --tls-client-auth={{ .Values.tls.clientCA.auth }}
        {{- end }}
        {{- end }}
        {{- with .Values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or (include "st8d.hasStore" .) (include "st8d.tokenSecret" .) .Values.extraEnv }}
      env:
        {{- if .Values.store.existingSecret }}
        - name: ST8D_STORE
          valueFrom:
            secretKeyRef:
              name: {{ .Values.store.existingSecret }}
              key: {{ .Values.store.key }}
        {{- else if .Values.store.url }}
        - name: ST8D_STORE
          value: {{ .Values.store.url | quote }}
        {{- end }}
        {{- if include "st8d.tokenSecret" . }}
        - name: ST8D_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ include "st8d.tokenSecret" . }}
              key: {{ ternary .Values.auth.token.key "token" (ne .Values.auth.token.existingSecret "") }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- if include "st8d.hasStore" . }}
      # Until nobody sends it anything new; then it finishes what it has.
      lifecycle:
        preStop:
          exec:
            command: [sleep, "5"]
      {{- end }}
      ports:
        - name: http
          containerPort: 8748
      startupProbe:
        {{- include "st8d.probe" (dict "root" . "path" "/healthz" "settings" .Values.startupProbe) | trim | nindent 8 }}
      livenessProbe:
        {{- include "st8d.probe" (dict "root" . "path" "/healthz" "settings" .Values.livenessProbe) | trim | nindent 8 }}
      readinessProbe:
        {{- include "st8d.probe" (dict "root" . "path" "/readyz" "settings" .Values.readinessProbe) | trim | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        {{- if not (include "st8d.hasStore" .) }}
        - name: state
          mountPath: /data
        {{- end }}
        # SQLite sorts there what does not fit into memory.
        - name: tmp
          mountPath: /tmp
        {{- if include "st8d.policySecret" . }}
        - name: policy
          mountPath: /etc/st8d/policy
          readOnly: true
        {{- end }}
        {{- if .Values.tls.enabled }}
        - name: tls
          mountPath: /etc/st8d/tls
          readOnly: true
        {{- if .Values.tls.clientCA.existingSecret }}
        - name: client-ca
          mountPath: /etc/st8d/client-ca
          readOnly: true
        {{- end }}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if not (include "st8d.hasStore" .) }}
    - name: state
      {{- if .Values.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ include "st8d.claim" . }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    - name: tmp
      emptyDir: {}
    {{- if include "st8d.policySecret" . }}
    - name: policy
      secret:
        secretName: {{ include "st8d.policySecret" . }}
        items:
          - key: {{ ternary .Values.auth.policy.key "policy.yaml" (ne .Values.auth.policy.existingSecret "") }}
            path: policy.yaml
        defaultMode: 0400
    {{- end }}
    {{- if .Values.tls.enabled }}
    - name: tls
      secret:
        secretName: {{ .Values.tls.existingSecret }}
        defaultMode: 0400
    {{- if .Values.tls.clientCA.existingSecret }}
    - name: client-ca
      secret:
        secretName: {{ .Values.tls.clientCA.existingSecret }}
        items:
          - key: {{ .Values.tls.clientCA.key }}
            path: ca.crt
    {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if include "st8d.hasStore" . }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "st8d.selectorLabels" . | nindent 10 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
